"""Disentanglement, completeness, informativeness (Eastwood & Williams 2018)."""

import math
from typing import Any, NamedTuple

import numpy as np

from vaelab.errors import UserError, did_you_mean
from vaelab.functional.disentanglement.inputs import Floats, Ints, Values, paired, split, standardised
from vaelab.functional.disentanglement.predictors import TEST_SHARE

MODELS = {
    "boosting": "gradient-boosted trees: histograms of 255 bins, 100 rounds of depth 3, importance by gain",
    "forest": "random forest: 50 trees, all dimensions at each split, leaves of at least 10 images",
    "lasso": "lasso on standardised codes and factors, penalty by 5-fold cross-validation",
}


class DCI(NamedTuple):
    """Disentanglement and completeness in [0, 1]; informativeness: test accuracy (R^2 with the lasso)."""

    disentanglement: float  # NaN with a single factor
    completeness: float  # NaN with a single dimension
    informativeness: float
    train_informativeness: float
    importance: Floats  # (D, F)  each column sums to 1, or to 0 where nothing helped
    model: str


def dci(
    codes: Values,
    factors: Values,
    model: str = "boosting",
    test_share: float = TEST_SHARE,
    seed: int = 0,
) -> DCI:
    """Disentanglement, completeness, informativeness (Eastwood & Williams 2018, section 2).

    A model of each factor from all dimensions gives the importances R_dk >= 0. With P_dk = R_dk / sum_k R_dk
    along a dimension, and in the same way along a factor,

        disentanglement = sum_d rho_d (1 - H_F(P_d.)),    rho_d = sum_k R_dk / sum R,
        completeness    = sum_k rho_k (1 - H_D(P_.k)),    rho_k = sum_d R_dk / sum R,

    the entropies to the base of the number of factors and of dimensions. 1: each dimension serves one factor
    (disentanglement), each factor is served by one dimension (completeness); 0: all alike. Informativeness is
    the mean accuracy on the images kept for the test.

    Models:

    - ``boosting``: as in disentanglement_lib gradient-boosted trees of depth 3 in 100 rounds, there
      scikit-learn's GradientBoostingClassifier, which takes minutes for factors of 40 values. Its histogram
      version grows such trees on 255 bins, twenty times faster. The importance is the gain of all splits on a
      dimension. D and C of the two agree to a few hundredths.
    - ``forest``: a random forest as in the paper. Small leaves would fill it with splits on noise.
    - ``lasso``: as in the paper; factors are taken as numbers, importances are absolute weights.

    disentanglement_lib takes 10,000 images to train on and 5,000 to test on; here ``test_share`` of those
    given is kept for the test.

    Raises:
        UserError: an unknown model.
    """
    import sklearn.ensemble  # noqa: F401  loaded before its threads are limited, else they are not
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if model not in MODELS:
        raise UserError(f"model={model} is none for DCI. {did_you_mean(model, MODELS)}")
    z, v = paired(codes, factors)
    train, test = split(len(z), test_share, seed)
    targets: list[Any] = list(v.T)
    if model == "lasso":
        z, targets = standardised(z, z[train]), [_as_numbers(column, train) for column in targets]
    # Models as small as these gain nothing from threads, which on busy cores wait for each other for minutes
    with threadpool_limits(1):
        fitted = [_fitted(model, z[train], target[train], seed) for target in targets]
        in_train, in_test = (
            [each.score(z[rows], target[rows]) for each, target in zip(fitted, targets, strict=True)]
            for rows in (train, test)
        )
    importance = np.stack([_importance(model, each, z.shape[1]) for each in fitted], axis=1)
    return DCI(
        disentanglement_of(importance),
        completeness_of(importance),
        float(np.mean(in_test)),
        float(np.mean(in_train)),
        importance,
        MODELS[model],
    )


def disentanglement_of(importance: Floats) -> float:
    """Eastwood & Williams' D of importances (D, F): 1 if each row has one entry, 0 if all rows are flat.

    Dimensions count by their share of all importance. NaN with a single factor; 0 if all importances are 0.
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


def completeness_of(importance: Floats) -> float:
    """Eastwood & Williams' C of importances (D, F): D of the transposed table."""
    return disentanglement_of(importance.T)


def _fitted(model: str, z: Floats, v: Any, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LassoCV

    if model == "boosting":
        return HistGradientBoostingClassifier(
            max_iter=100, max_depth=3, early_stopping=False, random_state=seed
        ).fit(z, v)
    if model == "forest":
        return RandomForestClassifier(50, max_features=None, min_samples_leaf=10, random_state=seed).fit(z, v)
    return LassoCV(cv=5).fit(z, v)


def _as_numbers(column: Ints, train: Ints) -> Floats:
    """A factor's classes as numbers, standardised by those to train on."""
    numbers = column.astype(np.float64)[:, None]
    return standardised(numbers, numbers[train])[:, 0]


def _importance(model: str, fitted: Any, dimensions: int) -> Floats:
    if model == "lasso":
        found = np.abs(fitted.coef_)
    elif model == "forest":
        found = fitted.feature_importances_
    else:
        found = _gains(fitted, dimensions)
    total = found.sum()
    return found / total if total else found


def _gains(fitted: Any, dimensions: int) -> Floats:
    """The gain of all splits on each dimension, (D,).

    scikit-learn keeps the trees of its histogram boosting in a private attribute and offers no importances.
    """
    gains = np.zeros(dimensions)
    for round_ in fitted._predictors:
        for tree in round_:
            splits = tree.nodes[tree.nodes["is_leaf"] == 0]
            gains += np.bincount(splits["feature_idx"], weights=splits["gain"], minlength=dimensions)
    return gains
