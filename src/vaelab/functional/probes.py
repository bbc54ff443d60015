"""How well simple classifiers predict the class from codes: linear and nearest-neighbour probes."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["knn_probe", "linear_probe", "majority"]

NEIGHBOURS = 5


def linear_probe(train: ArrayLike, y: ArrayLike, test: ArrayLike, y_test: ArrayLike) -> float:
    """Accuracy on test codes of a multinomial logistic regression fitted to the training codes.

    Codes (N, D) and (M, D), classes (N,) and (M,). Codes are standardised by the training codes' mean and
    standard deviation; scikit-learn's L2 penalty of strength 1. A single class in training is the
    prediction.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    y, y_test = np.asarray(y), np.asarray(y_test)
    if len(np.unique(y)) < 2:
        return float((y_test == y[0]).mean())
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return float(model.fit(np.asarray(train, dtype=float), y).score(np.asarray(test, dtype=float), y_test))


def knn_probe(
    train: ArrayLike, y: ArrayLike, test: ArrayLike, y_test: ArrayLike, k: int = NEIGHBOURS
) -> float:
    """Accuracy on test codes of the vote of the k nearest training codes, by Euclidean distance.

    Codes (N, D) and (M, D) as they are, since the model's scales define what is near: standardised, the
    noise of unused dimensions would count as much as used ones. Fewer than k training codes: all vote.
    """
    from sklearn.neighbors import KNeighborsClassifier

    train = np.asarray(train, dtype=float)
    model = KNeighborsClassifier(min(k, len(train))).fit(train, np.asarray(y))
    return float(model.score(np.asarray(test, dtype=float), np.asarray(y_test)))


def majority(y: ArrayLike, y_test: ArrayLike) -> float:
    """Accuracy of always predicting the commonest training class: a probe without any code."""
    values, counts = np.unique(np.asarray(y), return_counts=True)
    return float((np.asarray(y_test) == values[counts.argmax()]).mean())
