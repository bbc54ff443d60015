"""Distances between two sets of features: the Fréchet distance (FID) and the kernel distance (KID).

Both compare images through a feature network, whose name belongs to the number: values under different
networks do not compare, and neither do values from different numbers of images, since the Fréchet distance of
finite sets is biased upwards (Bińkowski, Sutherland, Arbel & Gretton, 2018). Units: those of the
squared features.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.functional.estimators import Values, mmd_of_tables

SUBSET = 1000  # images in a subset of KID, as in Bińkowski et al. (2018)


class Estimate(NamedTuple):
    """A mean and its standard error, NaN where there is nothing to tell it from."""

    value: float
    error: float


def features(*sets: Values) -> list[Tensor]:
    """The sets as float64 (N, d) each.

    Raises:
        ValueError: the sets are of different sizes or dimensions.
    """
    found = [torch.as_tensor(part).double() for part in sets]
    if len({tuple(part.shape) for part in found}) > 1 or found[0].ndim != 2:
        shapes = " and ".join(str(tuple(part.shape)) for part in found)
        raise ValueError(f"the sets of features must have one shape (N, d), got {shapes}")
    return found


def frechet_distance(x: Values, y: Values) -> float:
    """|m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)): features (N, d), (N, d) -> the distance, at least 0.

    The squared 2-Wasserstein distance of the two normal distributions with the sets' means and covariances
    (divided by N - 1; Dowson & Landau, 1982; as FID, Heusel et al., 2017). NaN for a single image,
    and where a feature is not finite.

    With centred features X = Q_x R_x sqrt(N - 1), so that S_x = R_x' R_x, the trace of (S_x S_y)^(1/2) is the
    sum of the singular values of R_x R_y'. No root of a rounded eigenvalue is taken: it is exact also where
    there are fewer images than features.
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

    Each subset's estimate is the unbiased one (Gretton et al., 2012), which may come out below 0. The
    sets are cut into as many disjoint subsets as there are with at least ``subset`` images: being disjoint
    they are independent, and the standard error is one (of overlapping subsets it would be too small). With
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
