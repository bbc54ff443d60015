"""Holes: where the prior has samples and the aggregate posterior q(z) has no codes.

There is no standard measure. These compare draws from the prior and fresh draws from q(z) with one threshold:
a rate of :func:`null_hole_rate`, about 0.01, means no holes, and 1 that every draw from the prior is far from
all codes that the decoder was trained on.

A high rate shows holes in any number of dimensions D. A low one rules them out only where D is small. The
squared distance |z - z'|^2 of two codes is a sum over dimensions, each with the weight 1: one that no image
uses adds 2 on average, with variance 8, whether or not the others match. So its noise grows as sqrt(8 D), and
the nearest of N codes is hardly nearer than any other: N points that fill a ball have their neighbours within
N^(-1/D) of its radius, 0.47 for 2,000 in 10 dimensions and 0.96 in 196. What is left is how far a draw lies
from the middle of all codes. An example: codes in clusters of ten dimensions have a hole rate of 0.30, and
with 10, 30 and 90 further ones that are N(0, 1) for each image, hence as the prior's, one of 0.03, 0.02 and
0.01. :func:`low_density_rate` weighs each dimension by the width of its posterior: 0.47, then 0.44, 0.34 and
0.26.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.functional.aggregate import Gaussians, mixture_log_densities

__all__ = [
    "HoleRates",
    "distance_threshold",
    "hole_rate",
    "hole_rates",
    "low_density_rate",
    "matched_draws",
    "nearest_distance",
    "null_hole_rate",
]

TAIL = 0.01  # the share of fresh z ~ q(z) that lies beyond the threshold
ROWS = 2048  # points whose distances to all others are computed at once, to bound memory

Draw = Callable[[int], tuple[Tensor, Tensor, Tensor]]


class HoleRates(NamedTuple):
    """Means over draws, each () float64 or float32."""

    hole_rate: Tensor
    hole_rate_se: Tensor  # standard error of the mean, of the draws alone
    hole_rate_matched: Tensor
    hole_rate_matched_se: Tensor
    draws: int


def nearest_distance(x: Tensor, reference: Tensor, leave_out_own: bool = False) -> Tensor:
    """min_j |x_i - reference_j|: (M, D), (N, D) -> (M,); ``leave_out_own``: reference = x, j != i.

    |x - y|^2 = |x|^2 - 2 x.y + |y|^2 loses the digits of a small difference of large numbers. So the points
    are centred, and in float64, or where the device has none (Apple's MPS) differences are taken one by one.
    """
    dtype, centre = x.dtype, reference.mean(0)
    x, reference = _float64(x - centre), _float64(reference - centre)
    norms = reference.square().sum(-1)
    nearest = []
    for start in range(0, len(x), ROWS):
        part = x[start : start + ROWS]
        if part.dtype == torch.float64:
            squares = torch.addmm(
                norms, part, reference.T, alpha=-2
            )  # less |x|^2, which is added to the least
        else:
            squares = torch.cdist(part, reference, compute_mode="donot_use_mm_for_euclid_dist").square()
        if leave_out_own:
            row = torch.arange(len(part), device=x.device)
            squares[row, start + row] = torch.inf
        least = squares.amin(1)
        if part.dtype == torch.float64:
            least = (least + part.square().sum(-1)).clamp(min=0)
        nearest.append(least.sqrt())
    return torch.cat(nearest).to(dtype)


def distance_threshold(z: Tensor, tail: float = TAIL) -> Tensor:
    """Where a hole begins: only ``tail`` of the codes z (N, D) are this far from all others. -> ()."""
    return nearest_distance(z, z, leave_out_own=True).quantile(1 - tail)


def null_hole_rate(codes: int, tail: float = TAIL) -> float:
    """The expected hole rate where p(z) = q(z), of N codes: [N - (1 - tail) (N - 1)] / (N + 1).

    A draw w of the prior and the N codes are then N + 1 draws of one distribution, and the rank of w's
    nearest distance among theirs is uniform: it exceeds the k-th smallest of the others' with probability
    (N + 1 - k) / (N + 1). The quantile 1 - tail has the rank k = 1 + (1 - tail) (N - 1), as in numpy and
    torch. Between two ranks, interpolating the distances would not do: the rate is no linear function of
    them. So :func:`hole_rate` interpolates the rates at both ranks, and the formula holds.

    It is exact up to ties: a code and a draw that are each other's neighbours have the same distance. They
    lower the rate by at most 1 / (N + 1); by 10% in one dimension, by less than 5% in more.

    >>> round(null_hole_rate(360), 4)
    0.0127
    """
    return (codes - (1 - tail) * (codes - 1)) / (codes + 1)


def hole_rate(z: Tensor, z_prior: Tensor, tail: float = TAIL) -> Tensor:
    """The share of prior draws farther from q(z) than all but ``tail`` of fresh z: (N, D), (M, D) -> ().

    The distance is that to the nearest of the N codes z ~ q(z|x_n); one of these codes is a fresh z for the
    others. The rate is interpolated between those at two of the codes' distances, the ones beside their
    quantile 1 - ``tail``. If prior and aggregate posterior agree, its expectation is :func:`null_hole_rate`.
    It needs no density, so a deterministic autoencoder has it too. It is nearly blind in many dimensions, as
    of a latent map (see the head of this module). NaN with fewer than two codes or non-finite ones.
    """
    if not _measurable(z, z_prior):
        return z.new_tensor(torch.nan)
    return _share_beyond(z_prior, z, _distances(z), tail)


def hole_rates(
    draw: Draw, least: int = 8, most: int = 300, error: float = 0.005, tail: float = TAIL
) -> HoleRates:
    """The mean of :func:`hole_rate` over draws of z ~ q(z|x_n) and of the prior.

    One draw of N codes and N prior samples is noisy: the 1% quantile rests on N / 100 codes. Draws are added
    until the standard errors of both means are at most ``error``, from ``least`` to ``most`` of them.

    Args:
        draw: k -> (z, z_prior, noise), (N, D) each: the k-th codes, draws of the prior and standard normal
            noise, from which :func:`matched_draws` makes those of the matched rate.

    ``hole_rate_matched`` is the rate of draws from the Gaussian with the codes' mean and covariance. It does
    not depend on where the codes are and how wide they spread, which nothing restricts in an autoencoder:
    draws from N(0, I) in the middle of a much wider cloud meet few holes. It measures structure: whether the
    codes fill the ellipsoid that they span. NaN unless there are more codes than dimensions, and every
    dimension has variance.
    """
    found: list[tuple[Tensor, Tensor]] = []
    while len(found) < most:
        z, z_prior, noise = draw(len(found))
        found.append(_both_rates(z, z_prior, matched_draws(z, noise), tail))
        if len(found) >= least and not any(_error(values) > error for values in zip(*found, strict=True)):
            break
    prior, matched = (torch.stack(values) for values in zip(*found, strict=True))
    return HoleRates(prior.mean(), _error(prior), matched.mean(), _error(matched), len(found))


def matched_draws(z: Tensor, noise: Tensor) -> Tensor:
    """Standard normal noise (M, D) -> draws from the Gaussian with the mean and covariance of z (N, D).

    NaN unless the covariance is positive definite.
    """
    if len(z) < 2:
        return torch.full_like(noise, torch.nan).to(z)
    centred = _float64(z - z.mean(0))
    root, failed = torch.linalg.cholesky_ex(torch.cov(centred.T).reshape(z.shape[-1], z.shape[-1]))
    if failed or not root.isfinite().all():
        return torch.full_like(noise, torch.nan).to(z)
    return z.mean(0) + (noise.to(root) @ root.T).to(z)


def low_density_rate(z: Tensor, z_prior: Tensor, posteriors: Gaussians, tail: float = TAIL) -> Tensor:
    """The share of prior draws whose log q(z) lies below the ``tail`` quantile of log q at z ~ q(z): -> ().

    log q is the exact mixture of the N posteriors; at a fresh z_n, that of the other N - 1. Where p(z) = q(z)
    its expectation is about :func:`null_hole_rate`. A dimension where all posteriors are the prior
    adds to every log q alike, which is less noise than in a distance: in many dimensions this rate sees holes
    that :func:`hole_rate` does not. NaN where the posteriors have no density.
    """
    if len(z) < 2 or not len(z_prior):
        return z.new_tensor(torch.nan)
    fresh = mixture_log_densities(z, posteriors, leave_out_own=True)[0]
    drawn = mixture_log_densities(z_prior, posteriors)[0]
    if fresh.isnan().any() or drawn.isnan().any():
        return z.new_tensor(torch.nan)
    return (drawn < fresh.quantile(tail)).to(z.dtype).mean()


def _both_rates(z: Tensor, z_prior: Tensor, matched: Tensor, tail: float) -> tuple[Tensor, Tensor]:
    """The hole rates of two sets of draws under one threshold."""
    nothing = z.new_tensor(torch.nan)
    if not _measurable(z, z):
        return nothing, nothing
    own = _distances(z)
    rates = [
        _share_beyond(drawn, z, own, tail) if _measurable(z, drawn) else nothing
        for drawn in (z_prior, matched)
    ]
    return rates[0], rates[1]


def _distances(z: Tensor) -> Tensor:
    """The distance of each code to the nearest other one, in ascending order: (N, D) -> (N,)."""
    return nearest_distance(z, z, leave_out_own=True).sort().values


def _share_beyond(drawn: Tensor, z: Tensor, own: Tensor, tail: float) -> Tensor:
    """The share of draws (M, D) farther from z (N, D) than the quantile 1 - tail of the distances ``own``."""
    rank = (1 - tail) * (len(own) - 1)
    lower, upper = own[math.floor(rank)], own[math.ceil(rank)]
    found = nearest_distance(drawn, z)
    beyond = [(found > threshold).to(z.dtype).mean() for threshold in (lower, upper)]
    return beyond[0].lerp(beyond[1], rank - math.floor(rank))


def _measurable(z: Tensor, drawn: Tensor) -> bool:
    return len(z) > 1 and len(drawn) > 0 and bool(z.isfinite().all() and drawn.isfinite().all())


def _error(values: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The standard error of the mean of one number per draw; NaN for a single draw."""
    values = values if isinstance(values, Tensor) else torch.stack(values)
    return values.std() / math.sqrt(len(values)) if len(values) > 1 else values.new_tensor(torch.nan)


def _float64(values: Tensor) -> Tensor:
    """In float64, or as they are on a device that has none."""
    try:
        return values.double()
    except TypeError:
        return values
