"""Terms that lead the rate, or the distortion, to where it is wanted.

Each reports the rate or the distortion itself and minimises something else. Batch means are means over the
batch of one device: under DDP each rank has its own.
"""

import math

import torch
from torch import Tensor, nn

from vaelab.models.objectives.elbo import KL, Distortion
from vaelab.models.objectives.objective import Term
from vaelab.models.schedules import as_schedule
from vaelab.types import LatentStats

LARGEST = math.log(1e4)  # of |log lambda|: a target that can't be met must not carry it off


class FreeBits(KL):
    """sum_d max(lambda, mean_n KL_nd), the mean over the batch inside (Kingma et al., 2016, "free bits").

    A dimension below the floor gets no gradient: it costs nothing to use lambda nats.

    Args:
        floor: lambda, nats per dimension: a number or a schedule.
    """

    needs_parts = True

    def __init__(self, floor: float | nn.Module, weight: float | nn.Module = 1.0) -> None:
        super().__init__(weight)
        self.floor = as_schedule(floor)

    def minimised(self, value: Tensor, stats: LatentStats, step: int | Tensor) -> Tensor:
        return torch.maximum(stats.kl.mean(0), self.floor(step)).sum()


class Capacity(KL):
    """|mean_n KL_n - C(t)|, its weight is gamma (Burgess et al., 2018, controlled capacity increase).

    The mean over the batch stands inside: the rate of the data is led to C, not that of each image. At C the
    slope jumps from -gamma to gamma, and the rate jitters about C as far as a step moves it: the learning
    rate has to fall towards the end (``model.lr_factor``).

    Args:
        capacity: C in nats: a number, or a schedule that rises to it.
    """

    def __init__(self, capacity: float | nn.Module, weight: float | nn.Module = 1.0) -> None:
        super().__init__(weight)
        self.capacity = as_schedule(capacity)

    def minimised(self, value: Tensor, stats: LatentStats, step: int | Tensor) -> Tensor:
        return (value - self.capacity(step)).abs()


class Multiplier(nn.Module):
    """A Lagrange multiplier lambda > 0: the loss falls in the model's parameters and rises in lambda.

    lambda * excess for the model, and for lambda the gradient d/d log lambda = -e / (1 + |e|), e the excess:
    the optimizer that descends the loss raises lambda where the excess is positive, until its mean is zero.
    The bound on that gradient keeps the large excess of the first steps out of Adam's memory. It is a
    parameter like any other, in a group of its own; checkpoints hold it. Outside 1e-4 ... 1e4 it is pulled
    back.

    Args:
        start: lambda before the first step.
        lr: its learning rate: about the relative change of lambda in a step. It has to be slow enough for the
            model to follow, else the two circle around each other.
    """

    def __init__(self, start: float = 1.0, lr: float = 1e-2) -> None:
        super().__init__()
        if not (start > 0 and math.isfinite(start)) or not (lr > 0 and math.isfinite(lr)):
            raise ValueError(f"a multiplier's start and lr must be numbers > 0, got {start} and {lr}")
        self.log_value = nn.Parameter(torch.tensor(math.log(start)))
        self.optimizer_options = {"lr": lr, "weight_decay": 0.0}

    def forward(self, excess: Tensor) -> Tensor:
        """excess () -> lambda * excess, (), with the two gradients."""
        log_value, known = self.log_value, excess.detach()
        pull = log_value - log_value.clamp(-LARGEST, LARGEST)
        slope = (pull - known / (1 + known.abs())).detach()
        return log_value.exp().detach() * excess + slope * (log_value - log_value.detach())

    def reading(self, step: int | Tensor) -> Tensor:
        """lambda."""
        return self.log_value.exp()


class Led(Term):
    """lambda (mean - target) is minimised: a multiplier leads the mean of the term to its target.

    Args:
        target: in nats per image: a number or a schedule.
        start, lr: see :class:`Multiplier`.
    """

    def __init__(
        self,
        target: float | nn.Module,
        weight: float | nn.Module = 1.0,
        start: float = 1.0,
        lr: float = 1e-2,
    ) -> None:
        super().__init__(weight)
        self.target = as_schedule(target)
        self.multiplier = Multiplier(start, lr)

    def minimised(self, value: Tensor, stats: LatentStats, step: int | Tensor) -> Tensor:
        return self.multiplier(value - self.target(step))


class TargetRate(Led, KL):
    """lambda (mean_n KL_n - R): the multiplier lambda, a beta that is found, leads the rate to R nats.

    min over the model of D subject to mean KL = R, as in Alemi et al. (2018), by the method of
    multipliers instead of a penalty. Its target is R.
    """


class Geco(Led, Distortion):
    """lambda (D - target), beside a KL of weight 1: the least rate at a given distortion.

    GECO (Rezende & Viola, 2018), with the distortion, nats per image, as the
    constraint, and Adam's mean over the steps in place of the paper's moving average.
    """
