"""Small measures of images and codes; vaelab.metrics has a metric of the same name for each."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "RunningMoments",
    "active_units",
    "bits_per_dimension",
    "merge",
    "moments",
    "perplexity",
    "reconstruction_error",
]


def bits_per_dimension(nats: Tensor, dimensions: Tensor | int) -> Tensor:
    """nats / (dimensions ln 2): ``dimensions`` is C H W for the nats of one image.

    >>> bits_per_dimension(torch.tensor(784 * math.log(2)), 784)
    tensor(1.)
    """
    return nats / (dimensions * math.log(2))


def reconstruction_error(x: Tensor, reconstruction: Tensor) -> Tensor:
    """Mean squared error over pixels and samples: (B, C, H, W), (S, B, C, H, W) -> (B,)."""
    return (reconstruction - x).square().flatten(2).mean((0, 2))


def perplexity(counts: Tensor) -> Tensor:
    """exp of the entropy of frequencies: counts (K,) -> (), from 1 to K; NaN without any.

    >>> perplexity(torch.tensor([5.0, 5.0, 0.0]))
    tensor(2.)
    """
    return torch.special.entr(counts / counts.sum()).sum().exp()


def active_units(variance: Tensor, threshold: float = 0.01) -> Tensor:
    """The number of dimensions d with Var_x(E_q[z_d|x]) > threshold: (D,) -> ().

    "Importance Weighted Autoencoders" (Burda et al., 2016, appendix C), https://arxiv.org/abs/1509.00519
    """
    return (variance > threshold).sum().float()


class RunningMoments(NamedTuple):
    """The number of vectors in a set, their mean, and the sum of squared deviations from it."""

    n: Tensor  # ()
    mean: Tensor  # (D,)
    squares: Tensor  # (D,)

    @property
    def variance(self) -> Tensor:
        """(D,), divided by n."""
        return self.squares / self.n


def moments(values: Tensor) -> RunningMoments:
    """The moments of (B, D) values over B."""
    mean = values.mean(0)
    return RunningMoments(values.new_tensor(float(len(values))), mean, (values - mean).square().sum(0))


def merge(a: RunningMoments, b: RunningMoments) -> RunningMoments:
    """The moments of the union, without cancellation, however large the mean.

    "Algorithms for Computing the Sample Variance" (Chan, Golub & LeVeque, 1983)
    """
    n = a.n + b.n
    share = b.n / n.clamp(min=1)
    delta = b.mean - a.mean
    return RunningMoments(n, a.mean + share * delta, a.squares + b.squares + a.n * share * delta.square())
