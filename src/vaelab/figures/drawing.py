"""Tensors in, pictures out. No logger, no model and no pyplot state here."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vaelab.figures.attributes import Attribute, text
from vaelab.functional.projection import Plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHORT_SIDE = 48  # small images are magnified to about this many screen pixels
FONT_SIZE, PADDING = 14, 6
INK, PAPER = 32, 254  # grey, and so in any mode
MOST_PANELS = 6  # of a map: one for each attribute
FRAME_MILLISECONDS = 110


# grids


def image_grid(
    images: Tensor, low: float = 0.0, high: float = 1.0, gap: int = 2, gap_value: int = 128
) -> Image.Image:
    """Images (rows, columns, C, H, W) -> one picture; values from ``low`` to ``high`` become black to white.

    One channel is drawn grey, three as RGB; of any other number the first is drawn. Small images are
    magnified by a whole factor, without smoothing: what you see is the pixels. NaN is black.
    """
    rows, columns, channels, height, width = images.shape
    if channels not in (1, 3):
        images, channels = images[:, :, :1], 1
    span = high - low if high > low else 1.0
    levels = ((images.detach().cpu().float() - low) / span).clamp(0, 1).nan_to_num(0)
    levels = levels.mul(255).round().to(torch.uint8)
    zoom = max(1, SHORT_SIDE // min(height, width)) if min(height, width) > 1 else 1
    levels = levels.repeat_interleave(zoom, -1).repeat_interleave(zoom, -2)
    height, width = height * zoom, width * zoom
    canvas = np.full(
        (rows * (height + gap) + gap, columns * (width + gap) + gap, channels), gap_value, dtype=np.uint8
    )
    for row in range(rows):
        for column in range(columns):
            top, left = gap + row * (height + gap), gap + column * (width + gap)
            canvas[top : top + height, left : left + width] = levels[row, column].permute(1, 2, 0).numpy()
    return Image.fromarray(canvas[:, :, 0] if channels == 1 else canvas)


def beside(parts: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Grids of one height side by side, each with its label below."""
    gap = 3 * PADDING
    band = FONT_SIZE + 2 * PADDING
    first = parts[0][1]
    width = sum(picture.width for _, picture in parts) + gap * (len(parts) - 1)
    canvas = blank(first, width, first.height + band)
    gap_colour: Any = first.getpixel((0, 0))
    canvas.paste(gap_colour, (0, 0, width, first.height))
    draw, left = ImageDraw.Draw(canvas), 0
    for label, picture in parts:
        canvas.paste(picture, (left, 0))
        middle = (left + picture.width / 2, picture.height + band / 2)
        draw.text(middle, label, ink(canvas), fitting(label, picture.width), anchor="mm")
        left += picture.width + gap
    return canvas


def with_labels(picture: Image.Image, labels: Sequence[str], caption: str = "") -> Image.Image:
    """A grid of as many rows with a label at the left of each, and a caption below.

    Rows that are lower than a line of text go without labels.
    """
    row = picture.height / len(labels)
    font = ImageFont.load_default(size=FONT_SIZE)
    left = 0 if row < FONT_SIZE else max(int(font.getlength(label)) for label in labels) + 2 * PADDING
    band = FONT_SIZE + 2 * PADDING if caption else 0
    canvas = blank(picture, left + picture.width, picture.height + band)
    canvas.paste(picture, (left, 0))
    draw = ImageDraw.Draw(canvas)
    for i, label in enumerate(labels if left else ()):
        draw.text((left - PADDING, (i + 0.5) * row), label, ink(canvas), font, anchor="rm")
    middle = (canvas.width / 2, picture.height + band / 2)
    draw.text(middle, caption, ink(canvas), fitting(caption, canvas.width), anchor="mm")
    return canvas


def blank(like: Image.Image, width: int, height: int) -> Image.Image:
    """An empty page in the mode of ``like``: grey pictures stay grey, and a GIF of them exact."""
    return Image.new(like.mode, (width, height), PAPER if like.mode == "L" else (PAPER, PAPER, PAPER))


def ink(canvas: Image.Image) -> int | tuple[int, int, int]:
    return INK if canvas.mode == "L" else (INK, INK, INK)


def fitting(label: str, width: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    """The font in which the label is at most so wide, down to one that can still be read."""
    fonts = (ImageFont.load_default(size=size) for size in range(FONT_SIZE, 7, -1))
    return next((font for font in fonts if font.getlength(label) <= width), ImageFont.load_default(size=8))


def animation(frames: Sequence[Image.Image], milliseconds: int = FRAME_MILLISECONDS) -> bytes:
    """Pictures of one size -> an animated GIF without an end. Equal frames in a row become one, longer."""
    file = io.BytesIO()
    first, *rest = frames
    first.save(file, format="gif", save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return file.getvalue()


# figures


def new_figure(width: float, height: float) -> "Figure":
    """A matplotlib figure on the Agg canvas, outside of pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    return figure


def figure_image(figure: "Figure") -> Image.Image:
    """The figure as a picture."""
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")  # type: ignore[attr-defined]


def kl_bars(kl: Tensor, title: str = "") -> "Figure":
    """KL per dimension (D,) as bars, sorted; the labels are the dimensions' numbers."""
    order = kl.argsort(descending=True)
    figure = new_figure(max(4.0, 0.28 * len(kl) + 1.5), 3.0)
    axes = figure.subplots()
    axes.bar(range(len(kl)), kl[order].tolist(), color="#3b6ea8")
    axes.set_xticks(range(len(kl)), [str(int(d)) for d in order], fontsize=7)
    axes.set(
        xlabel="latent dimension, sorted", ylabel="KL (nats)", title=title or f"rate {kl.sum():.2f} nats"
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def kl_heatmap(kl: Tensor, epochs: list[int]) -> "Figure":
    """KL per dimension over training, (T, D): a column an epoch, a row a dimension, sorted by the last."""
    order = kl[-1].argsort(descending=True)
    figure = new_figure(6.0, max(2.5, 0.16 * kl.shape[1] + 1.2))
    axes = figure.subplots()
    mesh = axes.pcolormesh(
        np.arange(len(epochs) + 1), np.arange(kl.shape[1] + 1), kl[:, order].T.numpy(), cmap="viridis", vmin=0
    )
    axes.set_yticks(np.arange(kl.shape[1]) + 0.5, [str(int(d)) for d in order], fontsize=6)
    ticks = np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), 8)).round().astype(int))
    axes.set_xticks(ticks + 0.5, [str(epochs[t]) for t in ticks])
    axes.invert_yaxis()
    axes.set(xlabel="epoch", ylabel="latent dimension")
    figure.colorbar(mesh, ax=axes, label="KL (nats)")
    return figure


def latent_map(plane: Plane, attributes: Sequence[Attribute] = (), circles: bool = False) -> "Figure":
    """Codes as points of a plane, a panel for each attribute, coloured by it; all in one colour without one.

    Classes have a legend, quantities a colour bar. ``circles``: where 1 and 2 standard deviations of N(0, I)
    are, around the origin.
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
        if plane.latent:  # a step in one dimension is as long as one in the other
            axes.set_aspect("equal", adjustable="datalim")
        axes.set(xlabel=plane.x, ylabel=plane.y)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _scatter(axes: "Axes", plane: Plane, attribute: Attribute | None) -> None:
    across, up = plane.points.numpy().T
    order = np.random.default_rng(0).permutation(len(up))  # else the last class hides the others
    style: dict[str, Any] = {"s": 14, "linewidths": 0, "alpha": 0.8}
    if attribute is None:
        axes.scatter(across, up, color="#3b6ea8", **style)
        return
    axes.set_title(attribute.name, fontsize=10)
    classes = attribute.classes
    if classes is None:
        values = attribute.values.numpy()[order]
        drawn = axes.scatter(across[order], up[order], c=values, cmap="viridis", **style)
        axes.figure.colorbar(drawn, ax=axes)
        return
    from matplotlib import colormaps

    colours = colormaps["tab10" if len(classes) <= 10 else "tab20"]
    number = torch.searchsorted(classes, attribute.values).numpy()
    axes.scatter(across[order], up[order], c=colours(number[order]), **style)
    for k, value in enumerate(classes):
        axes.scatter([], [], color=colours(k), label=text(value), s=30)
    axes.legend(
        loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8, handletextpad=0.1,
        ncols=1 + (len(classes) > 10),
    )  # fmt: skip


def _circles(axes: "Axes") -> None:
    """The prior N(0, I): circles of radius 1 and 2."""
    angle = np.linspace(0, 2 * np.pi, 181)
    for radius in (1, 2):
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), color="#444444", lw=0.8, ls=(0, (4, 3)))
        axes.annotate(
            f"{radius}σ", (0, radius), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=8,
            color="#444444",
        )  # fmt: skip
