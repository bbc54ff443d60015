"""Image grids, exact to the pixel."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from builders import random
from vaelab.figures.grids import PADDING, animation, beside, image_grid, with_labels
from vaelab.figures.style import CONTENT
from vaelab.reports.sheets import content_of, grid_rows


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


# grids


def test_a_grid_is_exact_to_the_pixel():
    images = torch.rand(2, 3, 1, 48, 50, generator=random())
    canvas = np.full((2 * 48 + 3 * 2, 3 * 50 + 4 * 2), 128, dtype=np.uint8)
    for row in range(2):
        for column in range(3):
            level = np.round(images[row, column, 0].numpy() * 255).astype(np.uint8)
            canvas[2 + 50 * row :, 2 + 52 * column :][:48, :50] = level
    picture = image_grid(images)
    assert picture.mode == "L"
    np.testing.assert_array_equal(pixels(picture), canvas)


def test_three_channels_are_rgb():
    images = torch.rand(1, 1, 3, 48, 48, generator=random())
    picture = image_grid(images, gap=0)
    assert picture.mode == "RGB"
    expected = np.round(images[0, 0].permute(1, 2, 0).numpy() * 255)
    np.testing.assert_array_equal(pixels(picture), expected)


@pytest.mark.parametrize("channels", [2, 5])
def test_of_other_channel_counts_the_first_is_drawn(channels):
    images = torch.rand(1, 2, channels, 48, 48, generator=random())
    np.testing.assert_array_equal(pixels(image_grid(images)), pixels(image_grid(images[:, :, :1])))


@pytest.mark.parametrize(("size", "zoom"), [((8, 8), 6), ((5, 20), 9), ((28, 28), 1), ((24, 30), 2)])
def test_small_images_are_magnified_by_a_whole_factor(size, zoom):
    images = torch.rand(1, 1, 1, *size, generator=random())
    expected = np.kron(np.round(images[0, 0, 0].numpy() * 255), np.ones((zoom, zoom)))
    np.testing.assert_array_equal(pixels(image_grid(images, gap=0)), expected)


def test_low_is_black_and_high_is_white():
    images = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0]).view(5, 1, 1, 1, 1).expand(5, 1, 1, 48, 48)
    found = pixels(image_grid(images, low=-1.0, high=1.0, gap=0))[::48, 0]
    assert found.tolist() == [0, 0, 128, 255, 255]


def test_nan_is_black_and_constant_data_can_be_drawn():
    constant = torch.full((1, 1, 1, 48, 48), 0.3)
    assert (pixels(image_grid(constant, low=0.3, high=0.3, gap=0)) == 0).all()
    assert (pixels(image_grid(torch.full((1, 1, 1, 48, 48), torch.nan), gap=0)) == 0).all()


# labels


def grid(rows: int, columns: int, channels: int = 1, seed: int = 0) -> Image.Image:
    return image_grid(torch.rand(rows, columns, channels, 48, 48, generator=random(seed)))


@pytest.mark.parametrize("channels", [1, 3])
def test_labels_stand_beside_the_grid_and_leave_it_as_it_is(channels):
    plain = grid(3, 4, channels)
    labelled = with_labels(plain, ["one", "two", "three"], "a caption")
    assert labelled.mode == plain.mode
    left, below = labelled.width - plain.width, labelled.height - plain.height
    assert left > 30
    assert below > 14
    np.testing.assert_array_equal(pixels(labelled)[: plain.height, left:], pixels(plain))
    for row in range(3):  # something is written beside each row, and below
        assert pixels(labelled)[row * 50 : (row + 1) * 50, :left].min() < 100
    assert pixels(labelled)[plain.height :].min() < 100


def test_rows_too_low_for_text_have_no_labels():
    plain = image_grid(torch.rand(3, 2, 1, 1, 6, generator=random()))
    np.testing.assert_array_equal(pixels(with_labels(plain, ["one", "two", "three"])), pixels(plain))


def test_grids_beside_each_other_keep_their_rows():
    one, two = grid(4, 3), grid(4, 5, seed=1)
    both = beside([("from the prior", one), ("from the fitted mixture", two)])
    np.testing.assert_array_equal(pixels(both)[: one.height, : one.width], pixels(one))
    np.testing.assert_array_equal(pixels(both)[: two.height, -two.width :], pixels(two))
    rows = grid_rows(both.convert("RGB"))  # as the comparison cuts them
    assert [row.size for row in rows] == [(both.width, 48)] * 4
    np.testing.assert_array_equal(pixels(rows[2].convert("L")), pixels(both)[102:150])


@pytest.mark.parametrize("columns", [1, 4, 20])
def test_a_picture_has_its_width_and_says_where_the_grid_lies_in_it(columns):
    plain = grid(3, columns)
    labelled = with_labels(plain, ["one", "dim 3, KL 1.21\n-2.10 to 2.30", "three"], "words " * 90, width=800)
    assert labelled.width >= 800
    left, _, width, height, zoom = map(int, labelled.info[CONTENT].split())
    assert (width, height) == (plain.width * zoom, plain.height * zoom)
    assert left + plain.width * (zoom - 1) < 800  # the least zoom that does
    assert (pixels(labelled)[height:, -PADDING:] == 254).all()  # the caption is broken into lines
    np.testing.assert_array_equal(pixels(content_of(labelled)), pixels(plain))


def test_parts_beside_each_other_are_found_too():
    one, two = grid(4, 3), grid(4, 5, seed=1)
    both = beside([("one", one), ("two", two)], "a caption", width=1200)
    assert both.width >= 1200
    parts = content_of(both)
    np.testing.assert_array_equal(pixels(parts)[:, : one.width], pixels(one))
    np.testing.assert_array_equal(pixels(parts)[:, -two.width :], pixels(two))


@pytest.mark.parametrize(
    "text", ["", "0 0 9", "0 0 9 9 x", "0 0 99 9 1", "-1 0 9 9 1", "0 0 9 9 0", "0 0 9 9 10"]
)
def test_a_picture_that_says_nonsense_of_its_content_is_no_picture(text):
    picture = Image.new("L", (20, 20))
    picture.info[CONTENT] = text
    with pytest.raises(ValueError, match=r"content|unpack|invalid"):
        content_of(picture)


def test_an_animation_has_its_frames():
    frames = [grid(2, 3, seed=i) for i in range(5)]
    with Image.open(io.BytesIO(animation(frames, milliseconds=70))) as found:
        assert (found.format, found.n_frames, found.info["loop"]) == ("GIF", 5, 0)
        for i, frame in enumerate(frames):
            found.seek(i)
            assert found.info["duration"] == 70
            np.testing.assert_array_equal(pixels(found.convert("L")), pixels(frame))
