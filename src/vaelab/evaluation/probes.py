"""Accuracies of simple classifiers of codes."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from vaelab.evaluation.trained_run import NotApplicable, TrainedRun, require
from vaelab.functional.probes import NEIGHBOURS, knn_probe, linear_probe, majority
from vaelab.models.latent_codes import Codes

__all__ = ["Probes"]

ACCURACIES = ("probe_accuracy", "knn_accuracy", "majority_accuracy")
MOST_CLASSES = 100  # values of a factor; a factor with more is a quantity, not a class


class Probes:
    """Accuracies on test images of simple classifiers of codes, trained on the codes of training images.

    Codes are posterior means. ``probe_accuracy``: a linear classifier on standardised codes;
    ``knn_accuracy``: the 5 nearest codes; ``majority_accuracy``: the largest class for every image, which
    needs no code. Data with factors of variation also give ``probe_accuracy_<factor>`` and
    ``knn_accuracy_<factor>``, where each factor's values are classes. A factor with more than 100 values is
    left out, and so is one that is constant among the training or the test images, which any codes predict;
    the protocol names them (``constant``). So it is with labels. Without labels, the three names without a
    factor are means over the factors. Each has a standard error ``..._se`` over test images, that of a share;
    of means over factors, whose errors may have any correlation, it is too large rather than too small.

    Args:
        train, test: the maximum numbers of images of each split.

    Raises:
        ValueError: no images.
    """

    def __init__(self, train: int = 10_000, test: int = 10_000) -> None:
        require(1, train=train, test=test)
        self.train, self.test = train, test

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        """Raises NotApplicable where the data have neither labels nor factors that are classes and vary."""
        train, test = run.codes("train", self.train), run.codes("test", self.test)
        factors = _factor_classes(train, test, run.data.factor_names)
        constant = [name for name, classes in factors.items() if not _vary(*classes)]
        by_factor = {
            name: _accuracies(train, test, *classes)
            for name, classes in factors.items()
            if name not in constant
        }
        labels = None if train.y is None or test.y is None else (train.y, test.y)
        if labels is not None and not _vary(*labels):
            constant, labels = ["labels", *constant], None
        if labels is not None:
            classes, whole = "labels", _accuracies(train, test, *labels)
        elif by_factor:
            classes = f"factors, mean over {', '.join(by_factor)}"
            whole = {key: fmean(accuracy[key] for accuracy in by_factor.values()) for key in ACCURACIES}
        elif constant:
            raise NotApplicable(f"the same for all images: {', '.join(constant)}")
        else:
            raise NotApplicable("the data have neither labels nor factors that are classes")
        each = {f"{key}_{name}": by_factor[name][key] for name in by_factor for key in ACCURACIES[:2]}
        return {
            "metrics": whole | each | _errors(whole | each, len(test.loc)),
            "protocol": {
                "codes": "posterior means",
                "classes": classes,
                "factors": ", ".join(by_factor) or "none",
                "constant": ", ".join(constant) or "none",
                "probe": "multinomial logistic regression on standardised codes, L2 penalty 1 (scikit-learn)",
                "knn": f"k={NEIGHBOURS}, Euclidean distance, codes not standardised",
                "train": len(train.loc),
                "test": len(test.loc),
            },
        }


def _errors(accuracies: dict[str, float], images: int) -> dict[str, float]:
    """The standard error of each share of ``images`` test images."""
    return {f"{name}_se": math.sqrt(p * (1 - p) / images) for name, p in accuracies.items()}


def _accuracies(train: Codes, test: Codes, y: Tensor, y_test: Tensor) -> dict[str, float]:
    codes = (train.loc, y, test.loc, y_test)
    return dict(zip(ACCURACIES, (linear_probe(*codes), knn_probe(*codes), majority(y, y_test)), strict=True))


def _factor_classes(train: Codes, test: Codes, names: Sequence[str]) -> dict[str, Sequence[Tensor]]:
    """The classes of training and of test images by each factor with at most MOST_CLASSES values.

    By the factor's name; empty without factors.
    """
    if train.factors is None or test.factors is None:
        return {}
    found = {}
    for name, *columns in zip(names, train.factors.T, test.factors.T, strict=True):
        values, classes = torch.cat(columns).unique(return_inverse=True)  # values need not be whole numbers
        if len(values) <= MOST_CLASSES:
            found[name] = classes.split([len(train.loc), len(test.loc)])
    return found


def _vary(*splits: Tensor) -> bool:
    """Whether the images of every split have at least two classes."""
    return all(len(classes.unique()) > 1 for classes in splits)
