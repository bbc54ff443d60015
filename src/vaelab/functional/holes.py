"""Holes: where the prior has samples and the aggregate posterior q(z) has no codes.

There is no standard measure. These compare draws from the prior and fresh draws from q(z) with one threshold:
a rate of 0.01 means no holes, and 1 that every draw from the prior is far from all codes that the decoder was
trained on.
"""

import torch
from torch import Tensor

from vaelab.functional.estimators import aggregate_log_densities
from vaelab.functional.randomness import normal_rows

__all__ = ["distance_threshold", "hole_rate", "low_density_rate", "matched_hole_rate", "nearest_distance"]

TAIL = 0.01  # the share of fresh z ~ q(z) that lies beyond the threshold
ROWS = 2048  # points whose distances to all others are computed at once, to bound memory


def nearest_distance(x: Tensor, reference: Tensor, leave_out_own: bool = False) -> Tensor:
    """min_j |x_i - reference_j|: (M, D), (N, D) -> (M,); ``leave_out_own``: reference = x, j != i."""
    nearest = []
    for start in range(0, len(x), ROWS):
        distances = torch.cdist(x[start : start + ROWS], reference)
        if leave_out_own:
            rows = torch.arange(len(distances), device=x.device)
            distances[rows, start + rows] = torch.inf
        nearest.append(distances.amin(1))
    return torch.cat(nearest)


def distance_threshold(z: Tensor, tail: float = TAIL) -> Tensor:
    """Where a hole begins: only ``tail`` of the codes z (N, D) are this far from all others. -> ()."""
    return nearest_distance(z, z, leave_out_own=True).quantile(1 - tail)


def hole_rate(z: Tensor, z_prior: Tensor, tail: float = TAIL) -> Tensor:
    """The share of prior draws farther from q(z) than all but ``tail`` of fresh z: (N, D), (M, D) -> ().

    The distance is that to the nearest of the N codes z ~ q(z|x_n); one of these codes is a fresh z for the
    others. If prior and aggregate posterior agree, the expected rate is ``tail``. It needs no density, so a
    deterministic autoencoder has it too. NaN with fewer than two codes or non-finite ones.
    """
    if len(z) < 2 or not len(z_prior) or not (z.isfinite().all() and z_prior.isfinite().all()):
        return z.new_tensor(torch.nan)
    return (nearest_distance(z_prior, z) > distance_threshold(z, tail)).to(z.dtype).mean()


def matched_hole_rate(z: Tensor, tail: float = TAIL) -> Tensor:
    """The hole rate of draws from the Gaussian with the codes' mean and covariance: (N, D) -> ().

    It does not depend on where the codes are and how wide they spread, which nothing restricts in an
    autoencoder: draws from N(0, I) in the middle of a much wider cloud meet few holes. It measures structure:
    whether the codes fill the ellipsoid that they span. NaN unless there are more codes than dimensions, and
    every dimension has variance.
    """
    noise = normal_rows(0, len(z), z.shape[-1], 0, "matched hole rate").to(z)
    root, failed = torch.linalg.cholesky_ex(torch.cov(z.T).reshape(z.shape[-1], z.shape[-1]))
    if failed or not root.isfinite().all():
        return z.new_tensor(torch.nan)
    return hole_rate(z, z.mean(0) + noise @ root.T, tail)


def low_density_rate(
    z: Tensor, z_prior: Tensor, loc: Tensor, scale: Tensor, tril: Tensor | None = None, tail: float = TAIL
) -> Tensor:
    """The share of prior draws whose log q(z) lies below the ``tail`` quantile of log q at z ~ q(z): -> ().

    log q is the exact mixture of the N posteriors; at a fresh z_n, that of the other N - 1. NaN where the
    posteriors have no density.
    """
    if len(z) < 2 or not len(z_prior):
        return z.new_tensor(torch.nan)
    fresh = aggregate_log_densities(z, loc, scale, tril, leave_out_own=True)[0]
    drawn = aggregate_log_densities(z_prior, loc, scale, tril)[0]
    if fresh.isnan().any() or drawn.isnan().any():
        return z.new_tensor(torch.nan)
    return (drawn < fresh.quantile(tail)).to(z.dtype).mean()
