"""Disentanglement, completeness, informativeness."""

import math
from typing import Any, NamedTuple

import numpy as np

from vaelab.functional.disentanglement.inputs import Floats, Values, paired, split
from vaelab.functional.disentanglement.predictors import TEST_SHARE

__all__ = ["DCI", "completeness", "dci", "disentanglement"]

MODEL = "gradient-boosted trees: histograms of 255 bins, 100 rounds of depth 3, importance by gain"


class DCI(NamedTuple):
    """All in [0, 1]."""

    disentanglement: float  # NaN with a single factor
    completeness: float  # NaN with a single dimension
    informativeness: float  # accuracy on test images
    train_informativeness: float
    importance: Floats  # (D, F)  each column sums to 1, or to 0 where no dimension helped


def dci(codes: Values, factors: Values, test_share: float = TEST_SHARE, seed: int = 0) -> DCI:
    """Disentanglement, completeness and informativeness of codes (N, D) for factors (N, F), classes.

    A model of each factor from all dimensions gives the importances R_dk >= 0. With P_dk = R_dk / sum_k R_dk
    along a dimension, and in the same way along a factor,

        disentanglement = sum_d rho_d (1 - H_F(P_d.)),    rho_d = sum_k R_dk / sum R,
        completeness    = sum_k rho_k (1 - H_D(P_.k)),    rho_k = sum_d R_dk / sum R,

    the entropies to the base of the number of factors and of dimensions. 1: each dimension serves one factor
    (disentanglement), each factor is served by one dimension (completeness); 0: all alike. Informativeness is
    the mean accuracy of the models on the ``test_share`` of images that they were not fitted to.

    The models are those of disentanglement_lib, gradient-boosted trees of depth 3 in 100 rounds. There they
    are scikit-learn's GradientBoostingClassifier, which takes minutes for factors of 40 values; here they are
    its histogram version, twenty times faster. Disentanglement and completeness of the two agree to a few
    hundredths. The importance of a dimension is the gain of all splits on it.

    "A Framework for the Quantitative Evaluation of Disentangled Representations" (Eastwood & Williams, ICLR
    2018, section 2)
    """
    # loaded before its threads are limited, else they are not
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    z, v = paired(codes, factors)
    train, test = split(len(z), test_share, seed)
    importance = np.zeros((z.shape[1], v.shape[1]))
    in_train, in_test = [], []
    # Models as small as these gain nothing from threads, which on busy cores wait for each other for minutes
    with threadpool_limits(1):
        for k, factor in enumerate(v.T):
            model = HistGradientBoostingClassifier(
                max_iter=100, max_depth=3, early_stopping=False, random_state=seed
            ).fit(z[train], factor[train])
            gains = _gains(model, z.shape[1])
            importance[:, k] = gains / (gains.sum() or 1)
            in_train.append(model.score(z[train], factor[train]))
            in_test.append(model.score(z[test], factor[test]))
    return DCI(
        disentanglement(importance),
        completeness(importance),
        float(np.mean(in_test)),
        float(np.mean(in_train)),
        importance,
    )


def disentanglement(importance: Floats) -> float:
    """D of importances (D, F): 1 if each row has one entry, 0 if all rows are flat.

    Dimensions count by their share of all importance. NaN with a single factor; 0 if all importances are 0.

    >>> disentanglement(np.eye(3))
    1.0
    """
    factors = importance.shape[1]
    if factors < 2:
        return math.nan
    totals = importance.sum(1)
    if not totals.sum():
        return 0.0
    share = importance / np.where(totals > 0, totals, 1)[:, None]
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(1) / math.log(factors)
    return float((totals / totals.sum() * (1 - entropy)).sum())


def completeness(importance: Floats) -> float:
    """C of importances (D, F): D of the transposed table."""
    return disentanglement(importance.T)


def _gains(model: Any, dimensions: int) -> Floats:
    """The gain of all splits on each dimension, (D,).

    scikit-learn has no public importances of its histogram boosting: the trees lie in a private attribute.
    """
    gains = np.zeros(dimensions)
    for trees in model._predictors:
        for tree in trees:
            splits = tree.nodes[tree.nodes["is_leaf"] == 0]
            gains += np.bincount(splits["feature_idx"], weights=splits["gain"], minlength=dimensions)
    return gains
