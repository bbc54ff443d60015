"""Mutual information between dimensions and factors, and the scores computed from it: MIG, modularity."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaelab.functional.disentanglement.inputs import (
    Floats,
    Ints,
    Values,
    as_tensor,
    binned,
    check_same_images,
    classes,
    code_array,
    paired,
    top_two_gap,
)
from vaelab.functional.estimators import pairwise_log_densities
from vaelab.functional.randomness import generator

__all__ = ["MIG", "Modularity", "histogram_mutual_information", "mig", "mig_chen", "modularity"]

CHUNK = 2**22  # numbers in the largest intermediate table: 16 MB of float32

LOCATELLO = "Locatello et al. 2019: posterior means, bins of equal width"
CHEN = "Chen et al. 2018: posterior samples, q(z_d|v) by the posteriors of the images with that value"


class MIG(NamedTuple):
    """The mutual information gap, in [0, 1]."""

    score: float  # the mean of the gaps
    gaps: Floats  # (F,)   each factor's, as a share of its entropy
    information: Floats  # (D, F)  I(z_d; v_k), nats
    convention: str  # of which paper, since the two differ


class Modularity(NamedTuple):
    """How far each dimension has information on one factor alone, in [0, 1]."""

    score: float  # the mean over all dimensions; one without information counts 0, as in disentanglement_lib
    active_score: float  # the mean over the dimensions that have information; NaN if none has
    active_dimensions: int
    per_dimension: Floats  # (D,)


def histogram_mutual_information(a: Ints, b: Ints) -> float:
    """I(a; b) = sum_ij p_ij log(p_ij / (p_i p_j)) of counts: a, b (N,), classes from 0; in nats.

    It is no estimate of the I_q(n; z) of :func:`vaelab.functional.estimators.mutual_information`.

    >>> a = np.array([0, 0, 1, 1])
    >>> round(histogram_mutual_information(a, a) / math.log(2), 6)
    1.0
    """
    sizes = int(a.max()) + 1, int(b.max()) + 1
    joint = np.bincount(a * sizes[1] + b, minlength=sizes[0] * sizes[1]).reshape(sizes) / len(a)
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


def information_table(a: Ints, b: Ints) -> Floats:
    """I(a_d; b_k) for all columns: (N, D), (N, F) in classes -> (D, F), nats."""
    return np.array([[histogram_mutual_information(x, y) for y in b.T] for x in a.T])


def entropies(factors: Ints) -> Floats:
    """H(v_k) of the empirical distribution: (N, F) in classes -> (F,), nats."""
    return np.array([histogram_mutual_information(column, column) for column in factors.T])


def mig(codes: Values, factors: Values, bins: int = 20) -> MIG:
    """The mutual information gap in the convention of disentanglement_lib.

    MIG = mean_k [I(z_(1); v_k) - I(z_(2); v_k)] / H(v_k), with z_(1) and z_(2) the dimensions that have most
    information on factor k. Each dimension is cut into ``bins`` intervals of equal width (20 there), and the
    information is that of the empirical joint distribution, biased upwards by about
    (bins - 1)(values - 1) / 2N nats.
    disentanglement_lib takes 10,000 posterior means.

    1: one dimension alone determines each factor; 0: the two best have the same information.

    "Challenging Common Assumptions in the Unsupervised Learning of Disentangled Representations" (Locatello
    et al., 2019), https://arxiv.org/abs/1811.12359

    Args:
        codes: (N, D), posterior means; D >= 2.
        factors: (N, F), classes.
    """
    z, v = paired(codes, factors)
    return _gap(information_table(binned(z, bins), v), v, f"{LOCATELLO}, {bins}")


def mig_chen(loc: Values, scale: Values, factors: Values, samples: int | None = None, seed: int = 0) -> MIG:
    """The mutual information gap in its authors' convention, without bins.

    I(z_d; v_k) = E [log q(z_d|v_k) - log q(z_d)] with z_d ~ q(z_d|x_n), v the factors of image n, and

        q(z_d) = 1/N sum_n q(z_d|x_n),    q(z_d|v_k) = mean of q(z_d|x_n) over the images with that v_k.

    The posterior's noise counts here: a dimension that encodes a factor precisely in its mean, but within a
    wide posterior, has little information. An image's own posterior is among those of its value, which
    biases the information upwards where few images share a value; estimates below 0 become 0, as in the
    authors' code, which takes the whole data set. NaN if any scale is 0: there is no density.

    "Isolating Sources of Disentanglement in Variational Autoencoders" (Chen et al., 2018, section 4),
    https://arxiv.org/abs/1802.04942

    Args:
        loc, scale: (N, D), the posteriors N(loc, scale^2); D >= 2.
        factors: (N, F), classes.
        samples: the expectation's: one each from the first so many images; None for all N.
        seed: of the samples' noise.
    """
    v = classes(factors)
    for name, part in (("loc", loc), ("scale", scale)):
        check_same_images(code_array(part, name), v)
    mean, deviation = as_tensor(loc), as_tensor(scale)
    if not deviation.all():
        undefined = np.full((mean.shape[1], v.shape[1]), np.nan)
        return MIG(math.nan, undefined[0], undefined, CHEN)
    noise = torch.randn(mean.shape, generator=generator(seed, "disentanglement/mig_chen"))
    z = (mean + deviation * noise.to(mean))[:samples]
    return _gap(_aggregate_information(z, mean, deviation, v).clamp(min=0).numpy(), v, CHEN)


def _aggregate_information(z: Tensor, loc: Tensor, scale: Tensor, factors: Ints) -> Tensor:
    """mean_i [log q(z_id|v_ik) - log q(z_id)], (D, F), for samples z (S, D) of the first S images."""
    sizes = factors.max(0) + 1
    # the values of all factors in a row, so that one product sums the densities of every group
    columns = torch.from_numpy(factors + np.cumsum([0, *sizes[:-1]]))
    membership = torch.zeros(len(factors), int(sizes.sum()), dtype=loc.dtype).scatter_(1, columns, 1.0)
    shares = membership / membership.sum(0)
    information = torch.zeros(loc.shape[1], factors.shape[1], dtype=torch.float64)
    for d in range(loc.shape[1]):
        step = max(1, CHUNK // len(factors))
        for part, groups in zip(z[:, d, None].split(step), columns[: len(z)].split(step), strict=True):
            logs = pairwise_log_densities(part, loc[:, d, None], scale[:, d, None])[..., 0]
            # less the largest, which the image's own posterior nearly is, so that no sum underflows
            densities = (logs - logs.amax(1, keepdim=True)).exp_()
            ratios = (densities @ shares).gather(1, groups) / densities.mean(1, keepdim=True)
            information[d] += ratios.log().sum(0).double()
    return information / len(z)


def _gap(information: Floats, factors: Ints, convention: str) -> MIG:
    gaps = top_two_gap(information) / entropies(factors)
    return MIG(float(gaps.mean()), gaps, information, convention)


def modularity(codes: Values, factors: Values, bins: int = 20) -> Modularity:
    """How far each dimension has information on one factor alone.

    With m_dk = I(z_d; v_k) and the best factor k* of a dimension,

        modularity_d = 1 - sum_{k != k*} m_dk^2 / (m_dk*^2 (F - 1)),

    1 where a dimension has no information on any other factor, 0 where it has as much on all as on the best.
    The information is that of :func:`mig`, with 20 bins and 10,000 posterior means in disentanglement_lib.
    NaN with a single factor.

    "Learning Deep Disentangled Embeddings With the F-Statistic Loss" (Ridgeway & Mozer, 2018, section 3),
    https://arxiv.org/abs/1802.05312
    """
    z, v = paired(codes, factors)
    return modularity_of_information(information_table(binned(z, bins), v))


def modularity_of_information(information: Floats) -> Modularity:
    """The modularity of a table of mutual information, (D, F)."""
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
