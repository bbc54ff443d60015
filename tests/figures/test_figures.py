import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from builders import random
from vaelab.figures.attributes import Attribute
from vaelab.figures.grids import animation, beside, image_grid, with_labels
from vaelab.figures.plots import figure_image, kl_bars, kl_heatmap, latent_map
from vaelab.functional.projection import Plane
from vaelab.reports.sheets import grid_rows


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


def test_gap_and_its_value_can_be_set():
    found = pixels(image_grid(torch.ones(1, 2, 1, 48, 48), gap=3, gap_value=7))
    expected = np.full((54, 105), 7)
    expected[3:51, 3:51] = expected[3:51, 54:102] = 255
    np.testing.assert_array_equal(found, expected)


def test_three_channels_are_rgb():
    images = torch.rand(1, 1, 3, 48, 48, generator=random())
    picture = image_grid(images, gap=0)
    assert picture.mode == "RGB"
    expected = np.round(images[0, 0].permute(1, 2, 0).numpy() * 255)
    np.testing.assert_array_equal(pixels(picture), expected)


@pytest.mark.parametrize("channels", [2, 4, 5])
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


def test_constant_data_can_be_drawn():
    assert (pixels(image_grid(torch.full((1, 1, 1, 48, 48), 0.3), low=0.3, high=0.3, gap=0)) == 0).all()


def test_nan_is_black():
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
    both = beside([("from the prior", one), ("from the fitted density", two)])
    np.testing.assert_array_equal(pixels(both)[: one.height, : one.width], pixels(one))
    np.testing.assert_array_equal(pixels(both)[: two.height, -two.width :], pixels(two))
    rows = grid_rows(both.convert("RGB"))  # as the comparison cuts them
    assert [row.size for row in rows] == [(both.width, 48)] * 4
    np.testing.assert_array_equal(pixels(rows[2].convert("L")), pixels(both)[102:150])


def test_an_animation_has_its_frames():
    frames = [grid(2, 3, seed=i) for i in range(5)]
    with Image.open(io.BytesIO(animation(frames, milliseconds=70))) as found:
        assert (found.format, found.n_frames, found.info["loop"]) == ("GIF", 5, 0)
        for i, frame in enumerate(frames):
            found.seek(i)
            assert found.info["duration"] == 70
            np.testing.assert_array_equal(pixels(found.convert("L")), pixels(frame))


# maps


def points(n: int = 40) -> Plane:
    return Plane(torch.randn(n, 2, generator=random(), dtype=torch.float64), "across", "up", latent=True)


def drawn(axes) -> np.ndarray:
    """All points of a panel, sorted."""
    found = np.concatenate([np.asarray(c.get_offsets()).reshape(-1, 2) for c in axes.collections])
    return found[np.lexsort(found.T)]


@pytest.mark.parametrize(
    "attribute",
    [None, Attribute("label", torch.arange(40) % 3), Attribute("size", torch.linspace(0, 1, 40))],
    ids=["unknown", "classes", "quantity"],
)
def test_a_map_shows_every_point_once(attribute):
    plane = points()
    axes = latent_map(plane, [] if attribute is None else [attribute]).axes[0]
    expected = plane.points.numpy()
    np.testing.assert_allclose(drawn(axes), expected[np.lexsort(expected.T)])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("across", "up")
    assert axes.get_title() == ("" if attribute is None else attribute.name)


@pytest.mark.parametrize("classes", [1, 3, 10, 15, 20])
def test_each_class_has_its_colour_and_stands_in_the_legend(classes):
    plane, y = points(60), torch.arange(60) % classes
    axes = latent_map(plane, [Attribute("label", y)]).axes[0]
    legend = axes.get_legend()
    assert [entry.get_text() for entry in legend.get_texts()] == [str(k) for k in range(classes)]
    shown = [tuple(handle.get_facecolor()[0][:3]) for handle in legend.legend_handles]
    assert len(set(shown)) == classes
    scatter = axes.collections[0]
    for point, colour in zip(scatter.get_offsets(), scatter.get_facecolor(), strict=True):
        [index] = np.flatnonzero((plane.points.numpy() == point).all(1))
        assert tuple(colour[:3]) == shown[y[index]]


def test_a_quantity_has_a_colour_bar():
    values = torch.linspace(0, 1, 40)
    axes, bar = latent_map(points(), [Attribute("size", values)]).axes
    assert axes.get_legend() is None
    assert bar.get_ylim() == (0, 1)


def test_the_priors_circles_have_radius_1_and_2():
    axes = latent_map(points(), circles=True).axes[0]
    radii = [np.hypot(*line.get_data()) for line in axes.lines]
    np.testing.assert_allclose(radii[0], 1)
    np.testing.assert_allclose(radii[1], 2)
    assert axes.get_aspect() == 1
    assert not latent_map(points()).axes[0].lines


def test_each_attribute_has_a_panel_up_to_six():
    attributes = [Attribute(f"factor {i}", torch.arange(40) % (i + 2)) for i in range(8)]
    assert [axes.get_title() for axes in latent_map(points(), attributes).axes] == [
        f"factor {i}" for i in range(6)
    ]
    assert len(latent_map(points(), attributes[:4]).axes) == 4


# KL


KL = torch.tensor([0.5, 3.0, 0.01, 1.25])


def test_bars_are_sorted_and_named_by_dimension():
    (axes,) = kl_bars(KL).axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([3.0, 1.25, 0.5, 0.01])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "3", "0", "2"]
    assert axes.get_title() == "rate 4.76 nats"
    assert "nats" in axes.get_ylabel()


def test_bars_can_have_a_title():
    assert kl_bars(KL, "beta 4").axes[0].get_title() == "beta 4"


def test_the_heat_map_has_a_row_for_each_dimension_and_a_column_for_each_epoch():
    history = torch.stack([KL.flip(0), KL, 2 * KL])
    axes = kl_heatmap(history, epochs=[0, 5, 10]).axes[0]
    mesh = axes.collections[0]
    values = mesh.get_array().reshape(4, 3)
    np.testing.assert_allclose(values, history[:, [1, 3, 0, 2]].T)  # sorted by the last epoch
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "3", "0", "2"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "5", "10"]
    bottom, top = axes.get_ylim()
    assert bottom > top  # the most used dimension is the first row from above
    assert mesh.get_clim()[0] == 0


def test_the_heat_map_of_many_epochs_names_a_few():
    axes = kl_heatmap(torch.rand(100, 3, generator=random()), epochs=list(range(100))).axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert len(labels) == 8
    assert labels[0] == "0"
    assert labels[-1] == "99"


def test_one_epoch_can_be_drawn():
    assert figure_image(kl_heatmap(KL[None], epochs=[3])).mode == "RGB"


def test_a_figure_becomes_a_picture_of_its_size():
    figure = kl_bars(KL)
    picture = figure_image(figure)
    width, height = figure.get_size_inches() * figure.dpi
    assert picture.mode == "RGB"
    assert picture.size == (round(width), round(height))
    assert len(np.unique(pixels(picture))) > 10  # something was drawn


def test_pyplot_is_not_imported():
    code = """
import sys, torch
from vaelab.figures.plots import figure_image, kl_bars, kl_heatmap
figure_image(kl_bars(torch.rand(3)))
figure_image(kl_heatmap(torch.rand(2, 3), [0, 1]))
print("matplotlib.pyplot" in sys.modules, "matplotlib.figure" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "True"]
