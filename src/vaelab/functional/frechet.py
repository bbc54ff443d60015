"""Distances between two sets of features: the Fréchet distance (FID) and the kernel distance (KID).

Both compare images through a feature network. Values under different networks are not comparable, and neither
are values from different numbers of images, since the Fréchet distance of finite sets is biased upwards
("Demystifying MMD GANs", Bińkowski et al., 2018, https://arxiv.org/abs/1801.01401). Units: those of the
squared features.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.functional.distributions import Values
from vaelab.functional.estimators import mmd_of_tables

__all__ = ["SUBSET", "Estimate", "features", "frechet_distance", "kernel_distance", "polynomial"]

SUBSET = 1000  # images in a subset of KID, as in Bińkowski et al. (2018)


class Estimate(NamedTuple):
    """A mean and its standard error; NaN where the error cannot be estimated."""

    value: float
    error: float


def features(*sets: Values) -> list[Tensor]:
    """The sets as float64 on the CPU, (N, d) each.

    Raises:
        ValueError: the sets are of different sizes or dimensions.
    """
    tensors = [torch.as_tensor(part).cpu().double() for part in sets]
    if len({tuple(part.shape) for part in tensors}) > 1 or tensors[0].ndim != 2:
        shapes = " and ".join(str(tuple(part.shape)) for part in tensors)
        raise ValueError(f"the sets of features must have one shape (N, d), got {shapes}")
    return tensors


def frechet_distance(x: Values, y: Values) -> float:
    """|m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)): features (N, d), (N, d) -> the distance, at least 0.

    The squared 2-Wasserstein distance of the two normal distributions with the sets' means and covariances
    (divided by N - 1). NaN for a single image, and where a feature is not finite.

    With centred features X = Q_x R_x sqrt(N - 1), so that S_x = R_x' R_x, the trace of (S_x S_y)^(1/2) is the
    sum of the singular values of R_x R_y'. No root of a rounded eigenvalue is taken: it is exact also where
    there are fewer images than features.

    "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium" (Heusel et al., 2017),
    https://arxiv.org/abs/1706.08500

    >>> x = [[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]]
    >>> round(frechet_distance(x, [[a + 3, b] for a, b in x]), 6)  # the squared distance of the means
    9.0
    """
    x, y = features(x, y)
    if len(x) < 2 or not (x.isfinite().all() and y.isfinite().all()):
        return math.nan
    roots = [torch.linalg.qr((part - part.mean(0)) / math.sqrt(len(part) - 1), mode="r").R for part in (x, y)]
    spread = (
        sum(root.square().sum() for root in roots) - 2 * torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    )
    return max(0.0, float((x.mean(0) - y.mean(0)).square().sum() + spread))


def polynomial(x: Tensor, y: Tensor) -> Tensor:
    """k(x, y) = (x.y / d + 1)^3 (Bińkowski et al., 2018, section 4): (M, d), (N, d) -> (M, N)."""
    return (x @ y.T / x.shape[-1] + 1) ** 3


def kernel_distance(x: Values, y: Values, subset: int = SUBSET) -> Estimate:
    """MMD^2 under :func:`polynomial`: features (N, d), (N, d) -> mean over subsets, and its standard error.

    Each subset's estimate is the unbiased one (:func:`~vaelab.functional.estimators.mmd`), which may be below
    0. The sets are cut into as many disjoint subsets as there are with at least ``subset`` images. Disjoint
    subsets are independent, as the standard error supposes (of overlapping ones it would be too small). With
    fewer than 2 ``subset`` images there is one subset and no standard error. NaN for a single image.
    """
    x, y = features(x, y)
    number = max(1, len(x) // subset)
    parts = zip(x.tensor_split(number), y.tensor_split(number), strict=True)
    values = torch.stack(
        [mmd_of_tables(polynomial(a, a), polynomial(b, b), polynomial(a, b)) for a, b in parts]
    )
    error = float(values.std()) / math.sqrt(number) if number > 1 else math.nan
    return Estimate(float(values.mean()), error)
