"""Active units: how many latent dimensions respond to the image."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric


class Moments(NamedTuple):
    """What a set of vectors leaves behind: how many, their mean, the sum of squared deviations from it."""

    number: Tensor  # ()
    mean: Tensor  # (D,)
    squares: Tensor  # (D,)


def moments(values: Tensor) -> Moments:
    """The moments of (B, D) values over B."""
    mean = values.mean(0)
    return Moments(values.new_tensor(float(len(values))), mean, (values - mean).square().sum(0))


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of the union (Chan, Golub & LeVeque, 1983): no cancellation, however large the mean."""
    number = a.number + b.number
    share = b.number / number.clamp(min=1)
    delta = b.mean - a.mean
    return Moments(number, a.mean + share * delta, a.squares + b.squares + a.number * share * delta.square())


class ActiveUnits(Metric):
    """The number of dimensions d with Var_x(E_q[z_d|x]) > threshold (Burda et al., 2016; 0.01 there).

    The variance is that of the posterior mean over the images of the split (divided by N). It can disagree
    with a threshold on the KL: a dimension whose mean never moves but whose scale is not 1 pays KL.
    """

    full_state_update = True  # forward(): torchmetrics can't merge states without a reduction
    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, latent_dim: int, threshold: float = 0.01) -> None:
        super().__init__()
        self.threshold = threshold
        # None: in distributed runs each state arrives stacked, one row per process, and compute merges them
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx=None)
        self.add_state("mean", torch.zeros(latent_dim), dist_reduce_fx=None)
        self.add_state("squares", torch.zeros(latent_dim), dist_reduce_fx=None)

    def update(self, loc: Tensor) -> None:
        """loc (B, D), the posterior means."""
        self.count, self.mean, self.squares = merge(
            Moments(self.count, self.mean, self.squares), moments(loc)
        )

    def variance(self) -> Tensor:
        """Var_x(E_q[z_d|x]), (D,)."""
        if self.mean.ndim == 1:
            return self.squares / self.count
        total, *others = map(Moments._make, zip(self.count, self.mean, self.squares, strict=True))
        for other in others:
            total = merge(total, other)
        return total.squares / total.number

    def compute(self) -> Tensor:
        return (self.variance() > self.threshold).sum().float()
