"""Mutual information between dimensions and factors, and what is read from it: MIG, modularity.

Source: Chen et al. (2018), section 4; Locatello et al. (2019), appendix; Ridgeway & Mozer (2018), section 3.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaelab.errors import UserError
from vaelab.functional.disentanglement.inputs import (
    Floats,
    Ints,
    Values,
    as_tensor,
    binned,
    classes,
    code_array,
    paired,
    top_two_gap,
)
from vaelab.functional.estimators import CHUNK, pairwise_log_densities
from vaelab.functional.randomness import generator

LOCATELLO = "Locatello et al. 2019: posterior means, bins of equal width"
CHEN = "Chen et al. 2018: posterior samples, q(z_d|v) by the posteriors of the images with that value"


class MIG(NamedTuple):
    """The mutual information gap, in [0, 1]."""

    score: float  # the mean of the gaps
    gaps: Floats  # (F,)   each factor's, as a share of its entropy
    information: Floats  # (D, F)  I(z_d; v_k), nats
    convention: str  # whose, since the two differ


class Modularity(NamedTuple):
    """How far each dimension informs of one factor alone, in [0, 1]."""

    score: float  # the mean over all dimensions; one without information counts 0, as in disentanglement_lib
    active_score: float  # the mean over the dimensions that have information; NaN if none has
    active_dimensions: int
    per_dimension: Floats  # (D,)


def mutual_information(a: Ints, b: Ints) -> float:
    """I(a; b) = sum_ij p_ij log(p_ij / (p_i p_j)), empirical: a, b (N,), classes from 0; in nats."""
    sizes = int(a.max()) + 1, int(b.max()) + 1
    joint = np.bincount(a * sizes[1] + b, minlength=sizes[0] * sizes[1]).reshape(sizes) / len(a)
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / independent[there])).sum())


def information_table(a: Ints, b: Ints) -> Floats:
    """I(a_d; b_k) for all columns: (N, D), (N, F) in classes -> (D, F), nats."""
    return np.array([[mutual_information(x, y) for y in b.T] for x in a.T])


def entropies(factors: Ints) -> Floats:
    """H(v_k) of the empirical distribution: (N, F) in classes -> (F,), nats."""
    return np.array([mutual_information(column, column) for column in factors.T])


def mig(codes: Values, factors: Values, bins: int = 20) -> MIG:
    """The mutual information gap as Locatello et al. (2019) have it.

    MIG = mean_k [I(z_(1); v_k) - I(z_(2); v_k)] / H(v_k), with z_(1) and z_(2) the dimensions that know most
    of factor k. Each dimension is cut into ``bins`` intervals of equal width (20 there), and the information
    is that of the empirical joint distribution, biased upwards by about (bins - 1)(values - 1) / 2N nats.
    disentanglement_lib takes 10,000 posterior means.

    1: each factor is known by one dimension alone, to the last value; 0: the two best know the same.

    Args:
        codes: (N, D), posterior means; D >= 2.
        factors: (N, F), classes.
    """
    z, v = paired(codes, factors)
    return _gap(information_table(binned(z, bins), v), v, f"{LOCATELLO}, {bins}")


def mig_chen(loc: Values, scale: Values, factors: Values, samples: int | None = None, seed: int = 0) -> MIG:
    """The mutual information gap as its authors have it (Chen et al. 2018), without bins.

    I(z_d; v_k) = E [log q(z_d|v_k) - log q(z_d)] with z_d ~ q(z_d|x_n), v the factors of image n, and

        q(z_d) = 1/N sum_n q(z_d|x_n),    q(z_d|v_k) = mean of q(z_d|x_n) over the images with that v_k.

    The posterior's noise counts here: a dimension that encodes a factor precisely in its mean, but within a
    wide posterior, has little information. An image's own posterior is among those of its value, which
    biases the information upwards where few images share a value; estimates below 0 become 0, as in the
    authors' code, which takes the whole data set. NaN where a scale is 0: there is no density.

    Args:
        loc, scale: (N, D), the posteriors N(loc, scale^2); D >= 2.
        factors: (N, F), classes.
        samples: the expectation's: one each from the first so many images; None for all N.
        seed: of the samples' noise.
    """
    v = classes(factors)
    for name, part in (("loc", loc), ("scale", scale)):
        if code_array(part, name).shape[0] != len(v):
            raise UserError(f"{len(v)} rows of factors but {len(code_array(part, name))} of {name}.")
    mean, deviation = as_tensor(loc), as_tensor(scale)
    noise = torch.randn(mean.shape, generator=generator(seed, "disentanglement/mig_chen"))
    z = (mean + deviation * noise.to(mean))[:samples]

    return _gap(_aggregate_information(z, mean, deviation, v).clamp(min=0).numpy(), v, CHEN)


def _aggregate_information(z: Tensor, loc: Tensor, scale: Tensor, factors: Ints) -> Tensor:
    """mean_i [log q(z_id|v_ik) - log q(z_id)], (D, F), for samples z (S, D) of the first S images."""
    sizes = factors.max(0) + 1
    # the values of all factors in a row, so that one product sums the densities of every group
    columns = torch.from_numpy(factors + np.cumsum([0, *sizes[:-1]]))
    belongs = torch.zeros(len(factors), int(sizes.sum()), dtype=loc.dtype).scatter_(1, columns, 1.0)
    shares = belongs / belongs.sum(0)
    information = torch.zeros(loc.shape[1], factors.shape[1], dtype=torch.float64)
    for d in range(loc.shape[1]):
        step = max(1, CHUNK // len(factors))
        for some, own in zip(z[:, d, None].split(step), columns[: len(z)].split(step), strict=True):
            logs = pairwise_log_densities(some, loc[:, d, None], scale[:, d, None])[..., 0]
            # the largest is taken out, and an image's own is hardly smaller: no sum underflows
            densities = (logs - logs.amax(1, keepdim=True)).exp_()
            ratios = (densities @ shares).gather(1, own) / densities.mean(1, keepdim=True)
            information[d] += ratios.log().sum(0).double()
    return information / len(z)


def _gap(information: Floats, factors: Ints, convention: str) -> MIG:
    gaps = top_two_gap(information) / entropies(factors)
    return MIG(float(gaps.mean()), gaps, information, convention)


def modularity(codes: Values, factors: Values, bins: int = 20) -> Modularity:
    """How far each dimension informs of one factor alone (Ridgeway & Mozer 2018).

    With m_dk = I(z_d; v_k) and the best factor k* of a dimension,

        modularity_d = 1 - sum_{k != k*} m_dk^2 / (m_dk*^2 (F - 1)),

    1 where no other factor is known, 0 where all are known as well as the best. The information is that of
    :func:`mig`, with 20 bins and 10,000 posterior means in disentanglement_lib. NaN with a single factor.
    """
    z, v = paired(codes, factors)
    return modularity_of(information_table(binned(z, bins), v))


def modularity_of(information: Floats) -> Modularity:
    """The same from a table of mutual information, (D, F)."""
    number, factors = information.shape
    if factors < 2:
        return Modularity(math.nan, math.nan, int((information > 0).sum()), np.full(number, np.nan))
    squares = np.square(information)
    best = squares.max(1)
    active = best > 0
    rest = (squares.sum(1) - best) / (np.where(active, best, 1) * (factors - 1))
    values = np.where(active, 1 - rest, 0.0)
    among_active = float(values[active].mean()) if active.any() else math.nan
    return Modularity(float(values.mean()), among_active, int(active.sum()), values)
