"""Class labels of the splits: their number, or why there is none."""

import pytest
import torch
from torch import Tensor

from vaelab.data.images import ImageSet
from vaelab.data.labels import class_labels
from vaelab.data.splits import Splits


def splits(train: Tensor | None, val: Tensor | None, test: Tensor | None) -> Splits:
    def images(y: Tensor | None) -> ImageSet:
        return ImageSet(torch.zeros(2 if y is None else len(y), 1, 1, 1), y)

    return Splits(images(train), images(val), images(test), redraw=False)


Y = torch.tensor([0, 2])


def test_classes_are_counted_over_all_splits():
    assert class_labels(splits(Y, Y, torch.tensor([4, 1]))) == (5, "")
    without = Splits(
        ImageSet(torch.zeros(2, 1, 1, 1), Y), None, ImageSet(torch.zeros(1, 1, 1, 1), Y[:1]), False
    )
    assert class_labels(without) == (3, "")
    assert class_labels(splits(Y, Y, torch.tensor([999]))).classes == 1000


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ((None, None, None), "the data have none"),
        ((Y, Y, None), "the test images have none"),
        ((None, None, Y), "the training and validation images have none"),
        ((Y, Y - 1, Y), "the validation images have the label -1, where K classes"),
        ((Y, Y, Y * 10**12), "the test images have the label 2000000000000, where K classes"),
    ],
)
def test_why_labels_are_no_classes(parts, problem: str):
    classes, found = class_labels(splits(*parts))
    assert classes is None
    assert found.startswith(problem)
