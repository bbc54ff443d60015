"""Plots of latent codes and of the KL as matplotlib figures that do not use pyplot."""

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaelab.figures.attributes import Attribute, text
from vaelab.figures.style import INK, MUTED, SERIES, new_figure, style_axes
from vaelab.functional.projection import Plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure_image", "kl_bars", "kl_heatmap", "latent_map"]

DIMENSION = "latent dimension"
MOST_EPOCHS = 10  # with a number below them
MOST_BARS = 60  # with a number below them
MOST_PANELS = 6  # in a map, which has a panel per attribute


def figure_image(figure: "Figure") -> Image.Image:
    """The figure as an RGB picture."""
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")  # type: ignore[attr-defined]


def kl_bars(kl: Tensor, title: str = "", what: str = DIMENSION, groups: Sequence[int] = ()) -> "Figure":
    """Bars of the KL per dimension (D,) in nats, sorted; each is labelled with its dimension's index.

    ``what`` they are, if not dimensions. The dimensions of a hierarchy are sorted within each of its
    ``groups``, of so many dimensions each, which have a thin line between them and their names above.
    """
    starts = [0, *accumulate(groups)][:-1] or [0]
    parts = kl.split(list(groups)) if groups else [kl]
    order = torch.cat(
        [first + part.argsort(descending=True) for first, part in zip(starts, parts, strict=True)]
    )
    figure = new_figure(min(20.0, max(5.5, 0.28 * len(kl) + 1.5)), 3.2)
    axes = figure.subplots()
    axes.bar(range(len(kl)), kl[order].tolist(), color=SERIES[0])
    title = title or f"KL of each {what}; the rate is their sum, {kl.sum():.2f} nats"
    most = "the most used of each group first" if groups else "from the most to the least used"
    along = f"{what} (the first is 0), {most}"
    style_axes(axes, xlabel=along, ylabel="KL (nats)", title=title)
    if groups:
        axes.margins(y=0.25)  # the names have room above the bars
        for group, (first, part) in enumerate(zip(starts, parts, strict=True)):
            if group:
                axes.axvline(first - 0.5, color=MUTED, linewidth=0.8)
            name = f"group {group}\n{part.sum():.2f} nats"
            place = (first + len(part) / 2 - 0.5, 0.98)
            axes.text(
                *place,
                name,
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize=8,
                color=INK,
            )
    every = -(-len(kl) // MOST_BARS)
    axes.set_xticks(range(0, len(kl), every), [str(int(d)) for d in order[::every]], fontsize=7)
    return figure


def kl_heatmap(kl: Tensor, epochs: list[int], what: str = DIMENSION) -> "Figure":
    """Heat map of the KL per dimension over training, (T, D) in nats.

    A column is an epoch and a row is a dimension; rows are sorted by the last epoch, the largest on top. The
    first epoch is epoch 1. ``what`` the rows are, if not dimensions.
    """
    order = kl[-1].argsort(descending=True)
    figure = new_figure(6.0, max(2.5, 0.16 * kl.shape[1] + 1.2))
    axes = figure.subplots()
    mesh = axes.pcolormesh(
        np.arange(len(epochs) + 1), np.arange(kl.shape[1] + 1), kl[:, order].T.numpy(), cmap="viridis", vmin=0
    )
    title = f"KL of each {what} over training"
    style_axes(axes, xlabel="epoch", ylabel=f"{what} (the first is 0)", title=title)
    axes.set_yticks(np.arange(kl.shape[1]) + 0.5, [str(int(d)) for d in order], fontsize=6)
    ticks = range(0, len(epochs), -(-len(epochs) // MOST_EPOCHS))
    axes.set_xticks([tick + 0.5 for tick in ticks], [str(epochs[tick]) for tick in ticks])
    axes.invert_yaxis()
    figure.colorbar(mesh, ax=axes, label="KL (nats)")
    return figure


def latent_map(plane: Plane, attributes: Sequence[Attribute] = (), circles: bool = False) -> "Figure":
    """Scatter plot of codes, one panel per attribute, coloured by it; one panel in one colour without any.

    Classes get a legend, quantities a colour bar. ``circles`` marks 1 and 2 standard deviations of the prior
    N(0, I).
    """
    shown: list[Attribute | None] = [*attributes[:MOST_PANELS]] or [None]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(5.6 * columns, 4.4 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in panels[len(shown) :]:
        axes.remove()
    for axes, attribute in zip(panels, shown, strict=False):
        _scatter(axes, plane, attribute)
        if circles:
            _circles(axes)
        if plane.latent:  # both axes have the same unit
            axes.set_aspect("equal", adjustable="datalim")
        style_axes(axes, xlabel=plane.x, ylabel=plane.y)
    return figure


def _scatter(axes: "Axes", plane: Plane, attribute: Attribute | None) -> None:
    across, up = plane.points.numpy().T
    style: dict[str, Any] = {"s": 14, "linewidths": 0, "alpha": 0.8}
    if attribute is None:
        axes.scatter(across, up, color=SERIES[0], **style)
        return
    axes.set_title(attribute.name)
    order = np.random.default_rng(0).permutation(
        len(up)
    )  # a random order, because otherwise the last class would hide the others
    across, up = across[order], up[order]
    classes = attribute.classes
    if classes is None:
        drawn = axes.scatter(across, up, c=attribute.values.numpy()[order], cmap="viridis", **style)
        axes.figure.colorbar(drawn, ax=axes)
        return
    from matplotlib import colormaps

    colours = colormaps["tab10" if len(classes) <= 10 else "tab20"]
    number = torch.searchsorted(classes, attribute.values).numpy()
    axes.scatter(across, up, c=colours(number[order]), **style)
    for k, value in enumerate(classes):
        axes.scatter([], [], color=colours(k), label=text(value), s=30)
    axes.legend(
        loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8, handletextpad=0.1,
        ncols=1 + (len(classes) > 10),
    )  # fmt: skip


def _circles(axes: "Axes") -> None:
    angle = np.linspace(0, 2 * np.pi, 181)
    for radius in (1, 2):
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), color=INK, lw=0.8, ls=(0, (4, 3)))
        axes.annotate(
            f"{radius}σ", (0, radius), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=8,
            color=INK,
        )  # fmt: skip
