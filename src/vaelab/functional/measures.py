"""Small measures of images and codes; vaelab.metrics has a metric of the same name for each."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "RunningMoments",
    "active_units",
    "bits_per_dimension",
    "merge",
    "moments",
    "pair_standard_error",
    "perplexity",
    "reconstruction_error",
    "share_in_use",
    "standard_error",
    "sums_by_group",
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

    Of several codebooks, counts (T, K), the geometric mean of theirs.

    >>> perplexity(torch.tensor([5.0, 5.0, 0.0]))
    tensor(2.)
    >>> perplexity(torch.tensor([[5.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    tensor(2.)
    """
    entropy = torch.special.entr(counts / counts.sum(-1, keepdim=True)).sum(-1)
    return entropy.mean().exp().where(counts.sum() > 0, torch.nan)


def share_in_use(counts: Tensor) -> Tensor:
    """The share of numbers that are not 0: counts (..., K) -> (); NaN without any count.

    >>> share_in_use(torch.tensor([5.0, 5.0, 0.0, 0.0]))
    tensor(0.5000)
    """
    used = (counts > 0).float().mean()
    return used.where(counts.sum() > 0, torch.nan)


def active_units(variance: Tensor, threshold: float = 0.01) -> Tensor:
    """The number of dimensions d with Var_x(E_q[z_d|x]) > threshold: (D,) -> ().

    "Importance Weighted Autoencoders" (Burda et al., 2016, appendix C), https://arxiv.org/abs/1509.00519
    """
    return (variance > threshold).sum().float()


def sums_by_group(values: Tensor, groups: Sequence[int]) -> Tensor:
    """Sums over groups of dimensions: (..., D) -> (..., G), with ``groups`` G numbers that sum to D.

    >>> sums_by_group(torch.tensor([1.0, 2.0, 4.0]), [1, 2])
    tensor([1., 6.])
    """
    return torch.stack([part.sum(-1) for part in values.split(list(groups), -1)], dim=-1)


class RunningMoments(NamedTuple):
    """The number of vectors in a set, their mean, and the sum of squared deviations from it."""

    n: Tensor  # ()
    mean: Tensor  # (D,)
    squares: Tensor  # (D,)

    @property
    def variance(self) -> Tensor:
        """(D,), divided by n."""
        return self.squares / self.n

    @property
    def standard_error(self) -> Tensor:
        """Of the mean of independent vectors: sqrt(squares / (n - 1) / n), (D,); NaN if n < 2."""
        error = (self.squares / (self.n - 1).clamp(min=1) / self.n.clamp(min=1)).sqrt()
        return torch.where(self.n > 1, error, torch.nan)


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


def standard_error(values: Tensor) -> Tensor:
    """Of the mean of independent values (N,): sd / sqrt(N), (); NaN of fewer than two values.

    >>> standard_error(torch.tensor([1.0, 3.0]))
    tensor(1.)
    """
    return moments(values[:, None]).standard_error[0]


def pair_standard_error(values: Tensor, pairs: Tensor) -> Tensor:
    """Of the mean of values (N,), each of a pair (N, 2) of items, where two values may share an item: ().

    The variance is a sum of products of two deviations d_n d_m over all values that share an item, n = m
    included: sum_i S_i^2 - sum_n d_n^2, where S_i is the sum of the deviations of the values with item i. No
    two values may share both items. It is at the least that of independent values; NaN of fewer than two.

    "Cluster-Robust Variance Estimation for Dyadic Data" (Aronow, Samii & Assenova, 2015),
    https://arxiv.org/abs/1312.3398
    """
    independent = standard_error(values)
    deviations = values - values.mean()
    items, place = pairs.unique(return_inverse=True)
    sums = deviations.new_zeros(len(items))
    for side in place.unbind(1):
        sums = sums.index_add(0, side, deviations)
    count = len(values)
    variance = (sums.square().sum() - deviations.square().sum()) / (count * max(count - 1, 1))
    return torch.maximum(independent, variance.clamp(min=0).sqrt())  # NaN where the first is
