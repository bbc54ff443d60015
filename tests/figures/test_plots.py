"""Plots of codes and of the KL, by what their axes hold."""

import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch

from builders import random
from vaelab.figures.attributes import Attribute
from vaelab.figures.plots import figure_image, kl_bars, kl_heatmap, latent_map
from vaelab.figures.style import as_png, as_svg, new_figure
from vaelab.functional.projection import Plane

# files


def test_an_svg_figure_is_the_file_that_matplotlib_saves():
    ours, theirs = (new_figure(3.0, 2.0) for _ in range(2))
    for figure in (ours, theirs):
        figure.subplots().plot([0, 1, 4])
        as_png(figure)  # the layout
    with matplotlib.rc_context({"svg.hashsalt": "line", "svg.fonttype": "none"}):
        theirs.savefig(file := io.StringIO(), format="svg", metadata={"Date": None, "Creator": None})
    assert as_svg(ours, "line") == file.getvalue()


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


@pytest.mark.parametrize("classes", [3, 20])
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
    assert axes.get_title().endswith("the rate is their sum, 4.76 nats")
    assert "nats" in axes.get_ylabel()


def test_bars_of_a_hierarchy_are_sorted_within_its_groups_which_are_marked():
    (axes,) = kl_bars(KL, groups=[1, 3]).axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.5, 3.0, 1.25, 0.01])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "3", "2"]
    assert [text.get_text() for text in axes.texts] == ["group 0\n0.50 nats", "group 1\n4.26 nats"]
    assert [text.get_position()[0] for text in axes.texts] == [0.0, 2.0]
    (line,) = axes.lines
    assert set(line.get_xdata()) == {0.5}
    assert not kl_bars(KL).axes[0].lines


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


@pytest.mark.parametrize(
    ("number", "shown"), [(1, [1]), (3, [1, 2, 3]), (12, [1, 3, 5, 7, 9, 11]), (400, range(1, 401, 40))]
)
def test_epochs_have_evenly_spaced_numbers(number, shown):
    axes = kl_heatmap(KL.expand(number, 4), epochs=list(range(1, number + 1))).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(epoch) for epoch in shown]


def test_pictures_of_any_number_of_dimensions_are_800_to_3000_pixels_wide():
    for dimensions in (2, 10, 512):
        figure = kl_bars(torch.rand(dimensions, generator=random()))
        assert 800 <= figure.get_size_inches()[0] * figure.dpi <= 3000
        assert len(figure.axes[0].get_xticks()) <= 60


def test_a_figure_becomes_a_picture_of_its_size():
    figure = kl_heatmap(KL[None], epochs=[3])
    picture = figure_image(figure)
    width, height = figure.get_size_inches() * figure.dpi
    assert picture.mode == "RGB"
    assert picture.size == (round(width), round(height))
    assert len(np.unique(np.asarray(picture))) > 10  # something was drawn


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
