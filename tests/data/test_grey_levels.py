"""Which values there are: black and white, the 256 of a byte, or any."""

import pytest
import torch

from builders import images
from vaelab.data import ImageSet, Source, Splits, split
from vaelab.functional.images import CHUNK, grey_levels, on_grid, to_float

BYTES = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)


def splits(train: torch.Tensor, test: torch.Tensor | None = None, binarize: str = "none") -> Splits:
    source = Source(ImageSet(train), None if test is None else ImageSet(test))
    return split(source, val_size=2, train_size=None, binarize=binarize)


def test_every_byte_is_on_the_grid_after_scaling():
    assert on_grid(to_float(BYTES), 256)
    assert on_grid(BYTES.double() / 255, 256)
    assert not on_grid(to_float(BYTES), 2)


@pytest.mark.parametrize("value", [-1 / 255, 256 / 255, 0.5 / 255, 1e-5, 0.3])
def test_what_lies_between_or_outside_is_not(value):
    assert not on_grid(torch.tensor([0.0, value, 1.0]), 256)
    assert not on_grid(torch.tensor([0.0, value, 1.0]), 2)


@pytest.mark.parametrize(
    ("x", "levels"),
    [
        (torch.zeros(3, 1, 2, 2, dtype=torch.bool), 2),
        (BYTES, 256),
        (to_float(BYTES), 256),
        ((to_float(BYTES) > 0.5).float(), 2),
        (images(3), None),
        (to_float(BYTES) * 2 - 1, None),
    ],
)
def test_levels(x, levels):
    assert grey_levels(x) == levels


def test_one_pixel_of_the_last_image_counts():
    x = torch.zeros(CHUNK + 1, 1, 1, 1)
    assert grey_levels(x) == 2
    x[-1] = 7 / 255
    assert grey_levels(x) == 256
    x[-1] = 0.1234
    assert grey_levels(x) is None


def test_levels_are_those_of_all_splits():
    binary, byte, grey = (images(12) > 0.5).float(), (images(12) * 255).byte(), images(12)
    assert splits(binary, binary).levels == 2
    assert splits(binary, to_float(byte)).levels == 256
    assert splits(byte).levels == 256
    assert splits(byte, grey).levels is None
    assert splits(grey, byte).levels is None


@pytest.mark.parametrize("mode", ["threshold", "static", "dynamic"])
def test_binarised_grey_images_have_two(mode):
    assert splits(images(12), images(12), binarize=mode).levels == 2
