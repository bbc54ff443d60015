"""Scores of predictors from codes to factors: SAP and explicitness."""

import math
from typing import NamedTuple

import numpy as np

from vaelab.functional.disentanglement.inputs import (
    Floats,
    Ints,
    Values,
    paired,
    split,
    standardised,
    top_two_gap,
)

__all__ = ["SAP", "TEST_SHARE", "Explicitness", "explicitness", "sap"]

TEST_SHARE = 1 / 3  # disentanglement_lib: 10,000 to train on, 5,000 to test on


class SAP(NamedTuple):
    """Separated attribute predictability."""

    score: float  # the mean of the gaps
    gaps: Floats  # (F,)
    predictability: Floats  # (D, F)  test accuracy


class Explicitness(NamedTuple):
    """How well a linear classifier finds each value of each factor, in [0.5, 1] but for noise."""

    score: float  # on test images
    train_score: float
    per_factor: Floats  # (F,)  on test images


def sap(
    codes: Values,
    factors: Values,
    test_share: float = TEST_SHARE,
    seed: int = 0,
) -> SAP:
    """Separated attribute predictability: the mean over factors of s_(1)k - s_(2)k.

    s_dk is how well dimension d alone predicts factor k, and the two best dimensions are compared: the
    accuracy, on test images, of a linear support vector machine with C = 0.01 and classes weighted to
    balance, one against the rest, as in disentanglement_lib. The penalty makes it depend on the scale of the
    codes.

    In [0, 1]; below 1 for a perfect code of a factor with many values, which a linear classifier of one
    number cannot separate. disentanglement_lib takes 10,000 images to train on and 5,000 to test on; here
    ``test_share`` of those given is kept for the test.

    "Variational Inference of Disentangled Latent Concepts from Unlabeled Observations" (Kumar et al., 2018,
    section 3), https://arxiv.org/abs/1711.00848

    Args:
        codes: (N, D), posterior means; D >= 2.
        factors: (N, F), classes.
    """
    z, v = paired(codes, factors)
    train, test = split(len(z), test_share, seed)
    predictability = np.array([[_svm_accuracy(x, y, train, test) for y in v.T] for x in z.T])
    gaps = top_two_gap(predictability)
    return SAP(float(gaps.mean()), gaps, predictability)


def _svm_accuracy(z: Floats, v: Ints, train: Ints, test: Ints) -> float:
    from sklearn.svm import LinearSVC

    # the defaults of disentanglement_lib's scikit-learn; more steps than it needs, so that it converges
    machine = LinearSVC(C=0.01, class_weight="balanced", dual=False, max_iter=10_000)
    machine.fit(z[train, None], v[train])
    return float((machine.predict(z[test, None]) == v[test]).mean())


def explicitness(
    codes: Values, factors: Values, test_share: float = TEST_SHARE, seed: int = 0
) -> Explicitness:
    """How well a linear classifier finds each value of each factor.

    For each value of each factor a logistic regression on all dimensions, standardised, against all other
    values; its area under the ROC curve, averaged over values, then over factors. 0.5: chance; 1: a plane
    separates every value, which it cannot do for a value in the middle of a scale of a single dimension.

    disentanglement_lib takes 10,000 images to train on and 5,000 to test on; here ``test_share`` of those
    given is kept for the test. Values that the training or the test images lack are left out.

    "Learning Deep Disentangled Embeddings With the F-Statistic Loss" (Ridgeway & Mozer, 2018, section 3),
    https://arxiv.org/abs/1802.05312
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    z, v = paired(codes, factors)
    train, test = split(len(z), test_share, seed)
    z = standardised(z, z[train])
    areas = []
    for column in v.T:
        of_factor = []
        for value in np.unique(column):
            is_value = column == value
            if not all(0 < is_value[part].sum() < len(part) for part in (train, test)):
                continue
            model = LogisticRegression(max_iter=1000).fit(z[train], is_value[train])
            margin = model.decision_function(z)
            of_factor.append([roc_auc_score(is_value[part], margin[part]) for part in (train, test)])
        areas.append(np.mean(of_factor, axis=0) if of_factor else np.full(2, math.nan))
    in_train, in_test = np.array(areas).T
    return Explicitness(float(in_test.mean()), float(in_train.mean()), in_test)
