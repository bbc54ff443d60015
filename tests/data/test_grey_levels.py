"""Which values there are: black and white, the 256 of a byte, or any."""

import pytest
import torch

from builders import images
from vaelab.data.datamodule import DataModule
from vaelab.data.images import ImageSet, Source
from vaelab.functional.images import CHUNK, grey_levels, on_grid, to_float

BYTES = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)


def module(train: torch.Tensor, test: torch.Tensor | None = None, **options: object) -> DataModule:
    settings = {"batch_size": 4, "val_size": 2, "train_size": None, "seed": 0, **options}
    return DataModule(Source(ImageSet(train), None if test is None else ImageSet(test)), **settings)


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


def test_a_data_modules_levels_are_those_of_all_splits():
    binary, byte, grey = (images(12) > 0.5).float(), (images(12) * 255).byte(), images(12)
    assert module(binary, binary).levels == 2
    assert module(binary, to_float(byte)).levels == 256
    assert module(byte).levels == 256
    assert module(byte, grey).levels is None
    assert module(grey, byte).levels is None


@pytest.mark.parametrize("mode", ["threshold", "static", "dynamic"])
def test_binarised_grey_images_have_two(mode):
    assert module(images(12), images(12), binarize=mode).levels == 2
