"""The rate-distortion curve of a linear beta-VAE from the data's spectrum, and where along beta to look.

Linear encoder and decoder, Gaussian likelihood of fixed sigma: the principal direction i of the data, with
variance l_i, is active iff beta < t_i = l_i / sigma^2, its threshold. Along beta

    R = 1/2 sum_{t_i > beta} log(t_i / beta),    D = D_0 - 1/2 sum_{t_i > beta} (t_i - beta),

where D_0 is the distortion of the best constant output: reverse water-filling
(:func:`~vaelab.functional.closed_forms.linear_beta_vae`). Thresholds and D_0 are all that the curve needs.

"Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse" (Lucas et al., 2019, arXiv:1911.02469)
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaelab.functional.closed_forms import LinearOptimum, linear_beta_vae

__all__ = ["ReferenceCurve", "beta_grid", "suggested_latent_dim"]

SERIES = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))  # round numbers of a decade
BETAS = 8  # about as many as a grid has
LIVE = 0.9  # the share of the dimensions that are active at the smallest beta
LEAST_SPAN, LARGEST_SPAN = 10.0, 1e4  # of a grid: its largest beta over its smallest
FEWEST_DIMENSIONS = 2
POINTS = 100  # of a curve that is drawn


class ReferenceCurve(NamedTuple):
    """The curve of the best linear model with ``latent_dim`` dimensions. In nats per image.

    >>> curve = ReferenceCurve((16.0, 4.0, 0.4), constant_distortion=20.0, latent_dim=2)
    >>> curve.at(2.0).active_units, curve.at(2.0).distortion
    (2, 12.0)
    >>> curve.at(16.0).rate, curve.at(16.0).distortion
    (0.0, 20.0)
    """

    thresholds: tuple[float, ...]  # t_i, from the largest: the beta from which a direction is dead
    constant_distortion: float  # D_0
    latent_dim: int

    def at(self, beta: float) -> LinearOptimum:
        """The optimum at this beta."""
        t = self.thresholds
        # in units of sigma; the constant and the inactive directions are in both, and leave the difference
        scaled = linear_beta_vae(t, 1.0, beta, self.latent_dim)
        dead = linear_beta_vae(t, 1.0, t[0], self.latent_dim)
        return scaled._replace(distortion=self.constant_distortion + scaled.distortion - dead.distortion)

    def betas(self) -> NDArray[np.float64]:
        """POINTS betas in equal ratios along the curve, from the grid's first to where everything is dead."""
        return np.geomspace(beta_grid(self.thresholds, self.latent_dim)[0], self.thresholds[0], POINTS)


def suggested_latent_dim(thresholds: Sequence[float]) -> int:
    """As many dimensions as the best linear model uses at beta = 1, and at least two.

    >>> suggested_latent_dim([16.0, 4.0, 1.5, 0.4])
    3
    """
    return max(FEWEST_DIMENSIONS, sum(t > 1 for t in thresholds))


def beta_grid(thresholds: Sequence[float], latent_dim: int) -> list[float]:
    """About eight round betas in nearly equal ratios, from most dimensions live to all dead.

    The smallest is below the threshold of the direction at nine tenths of ``latent_dim``, the largest is at
    or above the largest threshold. They differ by a factor of ten at least, and of 10,000 or a little more
    at most. The numbers of a decade are 1; 1, 3; 1, 2, 5; or 1, 1.5, 2, 3, 5, 7, whichever gives nearest to
    eight betas.

    >>> beta_grid([16.0, 4.0, 0.4], latent_dim=2)
    [1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0]

    Args:
        thresholds: from the largest.

    Raises:
        ValueError: the largest is not positive, since all images are the same.
    """
    highest = thresholds[0]
    if not highest > 0:
        raise ValueError("all images are the same")
    wanted = thresholds[min(math.ceil(LIVE * latent_dim), len(thresholds)) - 1]
    lowest = min(max(wanted, highest / LARGEST_SPAN), highest / LEAST_SPAN)
    grids = [_between(lowest, highest, series) for series in SERIES]
    return min(grids, key=lambda grid: abs(len(grid) - BETAS))


def _between(lowest: float, highest: float, series: Sequence[float]) -> list[float]:
    """The numbers of the series from the largest one below ``lowest`` to the least one from ``highest``."""
    powers = range(math.floor(math.log10(lowest)) - 1, math.ceil(math.log10(highest)) + 2)
    numbers = [float(f"{digit}e{power}") for power in powers for digit in series]
    first = max(number for number in numbers if number < lowest)
    last = min(number for number in numbers if number >= highest)
    return [number for number in numbers if first <= number <= last]
