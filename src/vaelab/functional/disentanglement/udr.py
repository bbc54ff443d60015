"""Unsupervised disentanglement ranking: how similar the codes of several runs are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vaelab.functional.disentanglement.inputs import Floats, Ints, Values, array, code_array, standardised

__all__ = ["SIMILARITIES", "UDR", "relative_strength", "udr"]

SIMILARITIES = {
    "lasso": "absolute weights of a lasso, alpha = 0.1, on standardised codes",
    "spearman": "absolute rank correlations",
}


class UDR(NamedTuple):
    """Unsupervised disentanglement ranking of M models, in [0, 1]."""

    scores: Floats  # (M,)    the median over the other models
    pairwise: Floats  # (M, M)  [i, j]: i's codes against j's; NaN on the diagonal
    informative: Ints  # (M,)    how many dimensions have a KL above the threshold


def udr(models: Sequence[tuple[Values, Values]], similarity: str = "lasso", threshold: float = 0.01) -> UDR:
    """Unsupervised disentanglement ranking: it needs no factors, but several seeds.

    If a representation is disentangled, the seeds of one setting learn the same up to order and sign. With
    R_ab >= 0 the similarity of dimension a of model i to dimension b of model j, over the d_i and d_j
    informative dimensions, those whose KL is above ``threshold`` (0.01),

        UDR_ij = [sum_b max_a R_ab^2 / sum_a R_ab + sum_a max_b R_ab^2 / sum_b R_ab] / (d_i + d_j),

    and a model's score is its median over the others. 1: each dimension has one partner, perfectly similar.
    A pair has 0 where a model has no informative dimension: nothing is shared.

    Similarities:

    - ``lasso``: the absolute weights by which i's codes predict each of j's in a lasso with alpha = 0.1,
      codes standardised, uninformative dimensions of either left out. A perfect partner has the weight 0.9,
      so that 0.9 is the most. It has a direction: a model's score takes the pairs in which its own codes are
      predicted, as disentanglement_lib does;
    - ``spearman``: absolute rank correlations, the same both ways.

    disentanglement_lib averages the two sums over their own numbers of dimensions, which is the same where
    d_i = d_j; this is the paper's. The paper compares at least 5 seeds.

    "Unsupervised Model Selection for Variational Disentangled Representation Learning" (Duan et al., 2020,
    section 4), https://arxiv.org/abs/1905.12614

    Args:
        models: for each the codes (N, D), posterior means of the SAME images in the same order, and the KL of
            each dimension, (D,), nats, mean over images.

    Raises:
        ValueError: fewer than two models, codes of different images, or an unknown similarity.
    """
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity must be one of {', '.join(SIMILARITIES)}, got {similarity!r}")
    if len(models) < 2:
        raise ValueError(f"UDR compares the codes of at least 2 models, got {len(models)}")
    codes, informative = [], []
    for loc, kl in models:
        z, cost = code_array(loc), array(kl)
        if cost.shape != (z.shape[1],):
            raise ValueError(f"the KL must be ({z.shape[1]},), one per dimension, got {cost.shape}")
        keep = cost > threshold
        codes.append(standardised(z[:, keep], z[:, keep]))
        informative.append(int(keep.sum()))
    if len({len(z) for z in codes}) > 1:
        raise ValueError(f"UDR needs codes of the same images, got {', '.join(str(len(z)) for z in codes)}")
    compare = _lasso if similarity == "lasso" else _spearman
    pairwise = np.full((len(codes), len(codes)), np.nan)
    for i, a in enumerate(codes):
        for j, b in enumerate(codes):
            if i != j:
                pairwise[i, j] = relative_strength(compare(a, b)) if a.size and b.size else 0.0
    return UDR(np.nanmedian(pairwise, axis=0), pairwise, np.array(informative))


def relative_strength(similarity: Floats) -> float:
    """UDR_ij of a table of similarities (d_i, d_j) >= 0; a row or column without any counts 0."""
    total = 0.0
    for axis in (0, 1):
        sums = similarity.sum(axis)
        total += (np.square(similarity.max(axis)) / np.where(sums > 0, sums, 1)).sum()
    return float(total / sum(similarity.shape))


def _lasso(a: Floats, b: Floats) -> Floats:
    from sklearn.linear_model import Lasso

    fitted = Lasso(alpha=0.1, max_iter=10_000).fit(a, b)
    return np.abs(np.reshape(fitted.coef_, (b.shape[1], a.shape[1])).T)


def _spearman(a: Floats, b: Floats) -> Floats:
    from scipy.stats import rankdata

    ranks = [rankdata(z, axis=0) for z in (a, b)]
    x, y = (standardised(rank, rank) for rank in ranks)
    return np.abs(x.T @ y / len(x))
