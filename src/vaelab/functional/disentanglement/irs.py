"""The interventional robustness score."""

from typing import NamedTuple

import numpy as np

from vaelab.functional.disentanglement.inputs import Floats, Ints, Values, binned, paired

__all__ = ["IRS", "irs"]


class IRS(NamedTuple):
    """The interventional robustness score, in [0, 1]."""

    score: float  # the mean over active dimensions, weighted by their largest deviation; 0 if none is active
    active_dimensions: int
    per_dimension: Floats  # (D,)    of the best factor; NaN where inactive
    parents: Ints  # (D,)    that factor; -1 where inactive
    robustness: Floats  # (D, F)  1 - deviation; NaN where inactive


def irs(codes: Values, factors: Values, quantile: float = 0.99, factor_bins: int | None = 20) -> IRS:
    """The interventional robustness score: how little a dimension moves while one factor is constant.

    With factor k constant at a value v, the code of an image deviates from the mean of its group:

        deviation_dk = mean_v [quantile over the group of |z_d - E(z_d|v)|] / max |z_d - E(z_d)|,
        IRS = sum_d w_d max_k (1 - deviation_dk),    w_d ~ max |z_d - E(z_d)|.

    1: each dimension is a function of one factor; 0: each moves as far as ever, whichever factor is constant.
    It does not measure completeness: dimensions with the same information score 1.

    Protocol of disentanglement_lib, with 10,000 posterior means: the 99% quantile in place of the paper's
    maximum (``quantile=1``), factors cut into 20 bins of equal width (``factor_bins=None``: their own values,
    as in the paper; the same with at most 20 values in equal steps). Constant dimensions are left out, and
    the rest counted.

    "Robustly Disentangled Causal Mechanisms: Validating Deep Representations for Interventional Robustness"
    (Suter et al., 2019, section 4), https://arxiv.org/abs/1811.00007
    """
    z, v = paired(codes, factors)
    if factor_bins is not None:
        v = binned(v, factor_bins)
    active = z.var(0) > 0
    z_active = z[:, active]
    largest = np.abs(z_active - z_active.mean(0)).max(0)
    deviation = np.stack([_deviation(z_active, column, quantile) for column in v.T], axis=1)
    robustness = np.full((z.shape[1], v.shape[1]), np.nan)
    robustness[active] = 1 - deviation / largest[:, None]
    per_dimension, parents = np.full(len(active), np.nan), np.full(len(active), -1)
    per_dimension[active] = robustness[active].max(1)
    parents[active] = robustness[active].argmax(1)
    score = float(np.average(per_dimension[active], weights=largest)) if active.any() else 0.0
    return IRS(score, int(active.sum()), per_dimension, parents, robustness)


def _deviation(z: Floats, factor: Ints, quantile: float) -> Floats:
    """(D,): the mean over the values of a factor of the quantile of |z_d - E(z_d|v)|."""
    groups = [z[factor == value] for value in np.unique(factor)]
    return np.mean([np.quantile(np.abs(g - g.mean(0)), quantile, axis=0) for g in groups], axis=0)
