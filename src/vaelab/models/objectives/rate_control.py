"""Terms that hold the rate, or the distortion, at a target.

Each reports the rate or the distortion itself and adds another number to the loss. Batch means are means over
the batch of one device: under DDP each rank has its own.
"""

import math

import torch
from torch import Tensor, nn

from vaelab.models.objectives.objective import Term
from vaelab.models.schedules import as_schedule
from vaelab.types import LatentStats

__all__ = ["Capacity", "Constrained", "FreeBits", "Multiplier"]

LARGEST = math.log(1e4)  # of |log lambda|: a target that can't be met must not carry it off


class FreeBits(Term):
    """sum_d max(lambda, mean_n KL_nd): the rate is reported, and a dimension below the floor costs nothing.

    "Improved Variational Inference with Inverse Autoregressive Flow" (Kingma et al., 2016, arXiv:1606.04934),
    appendix C.8, with the mean over the batch inside. A dimension below the floor gets no gradient.

    Args:
        floor: lambda, nats per dimension: a number or a schedule.
    """

    per_image = False
    needs = frozenset({"density", "kl per dimension"})

    def __init__(self, floor: float | nn.Module, weight: float | nn.Module = 1.0) -> None:
        super().__init__(weight)
        self.floor = as_schedule(floor)

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return stats.rate

    def loss_value(self, value: Tensor, stats: LatentStats, step: int | Tensor) -> Tensor:
        return torch.maximum(stats.kl.mean(0), self.floor(step)).sum()


class Capacity(Term):
    """|mean_n KL_n - C(t)|, whose weight is gamma: the rate is reported.

    "Understanding disentangling in beta-VAE" (Burgess et al., 2018, arXiv:1804.03599). The mean over the
    batch stands inside: the rate of the data is drawn to C, not that of each image.

    gamma holds the rate at C where it is above -dD/dR(C), what a nat of rate saves there in distortion; else
    the rate stays above C, where a nat saves gamma. Far above it, the term hinders the training: below C it
    rewards rate of any kind, and at C its slope jumps from -gamma to gamma from batch to batch, beside which
    the gradient of the distortion is small (docs/variants.md has a table). :class:`Constrained` finds the
    price by itself. The rate jitters about C as far as a step moves it: the learning rate has to fall towards
    the end (``model.lr_factor``).

    Args:
        capacity: C in nats: a number, or a schedule that rises to it.
    """

    per_image = False
    needs = frozenset({"density"})

    def __init__(self, capacity: float | nn.Module, weight: float | nn.Module = 1.0) -> None:
        super().__init__(weight)
        self.capacity = as_schedule(capacity)

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return stats.rate

    def loss_value(self, value: Tensor, stats: LatentStats, step: int | Tensor) -> Tensor:
        return (value - self.capacity(step)).abs()

    def aim(self) -> tuple[str, float]:
        return "rate", float(self.capacity(torch.tensor(math.inf)))


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

    Raises:
        ValueError: ``start`` or ``lr`` is not a finite number > 0.
    """

    def __init__(self, start: float = 1.0, lr: float = 1e-2) -> None:
        super().__init__()
        if not (start > 0 and math.isfinite(start)) or not (lr > 0 and math.isfinite(lr)):
            raise ValueError(f"start and lr must be numbers > 0, got {start} and {lr}")
        self.log_value = nn.Parameter(torch.tensor(math.log(start)))
        self.optimizer_options = {"lr": lr, "weight_decay": 0.0}

    def forward(self, excess: Tensor) -> Tensor:
        """excess () -> lambda * excess, (), with the two gradients."""
        log_value, size = self.log_value, excess.detach()
        pull = log_value - log_value.clamp(-LARGEST, LARGEST)
        slope = (pull - size / (1 + size.abs())).detach()
        return log_value.exp().detach() * excess + slope * (log_value - log_value.detach())

    def reading(self, step: int | Tensor) -> Tensor:
        """lambda."""
        return self.log_value.exp()


class Constrained(Term):
    """lambda (mean - target): a Lagrange multiplier lambda draws the mean of a quantity to its target.

    - ``of="rate"``, beside a distortion of weight 1: min D subject to R = target, as in "Fixing a Broken
      ELBO" (Alemi et al., 2018, arXiv:1711.00464), by a multiplier instead of a penalty: lambda is a beta.
    - ``of="distortion"``, beside a KL of weight 1: min R subject to D = target. This is GECO of "Taming VAEs"
      (Rezende & Viola, 2018, arXiv:1810.00597), with nats per image as the constraint, and Adam's mean over
      the steps in place of the paper's moving average.

    Args:
        of: "rate" or "distortion", which is also what the term reports.
        target: in nats per image: a number or a schedule. None: ``target_distortion``.
        target_distortion: in nats per image, which the assembly offers where the variant gives a share
            (``model.target_share``).
        start, lr: see :class:`Multiplier`.

    Raises:
        ValueError: another ``of``, or no target.
    """

    per_image = False

    def __init__(
        self,
        of: str,
        target: float | nn.Module | None,
        weight: float | nn.Module = 1.0,
        start: float = 1.0,
        lr: float = 1e-2,
        target_distortion: float | None = None,
    ) -> None:
        super().__init__(weight)
        if of not in ("rate", "distortion"):
            raise ValueError(f"of must be rate or distortion, got {of}")
        self.of = of
        if of == "rate":
            self.needs = frozenset({"density"})
        if target is None and of == "distortion":
            target = target_distortion
        if target is None:
            raise ValueError("target is missing: it must be a number of nats per image")
        self.target = as_schedule(target)
        self.multiplier = Multiplier(start, lr)

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return stats.rate if self.of == "rate" else stats.distortion

    def loss_value(self, value: Tensor, stats: LatentStats, step: int | Tensor) -> Tensor:
        loss: Tensor = self.multiplier(value - self.target(step))
        return loss

    def aim(self) -> tuple[str, float]:
        return self.of, float(self.target(torch.tensor(math.inf)))
