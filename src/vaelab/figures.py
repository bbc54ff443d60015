"""Tensors in, pictures out. No logger, no model and no pyplot state here."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHORT_SIDE = 48  # small images are magnified to about this many screen pixels


def image_grid(
    images: Tensor, low: float = 0.0, high: float = 1.0, gap: int = 2, gap_value: int = 128
) -> Image.Image:
    """Images (rows, columns, C, H, W) -> one picture; values from ``low`` to ``high`` become black to white.

    One channel is drawn grey, three as RGB; of any other number the first is drawn. Small images are
    magnified by a whole factor, without smoothing: what you see is the pixels.
    """
    rows, columns, channels, height, width = images.shape
    if channels not in (1, 3):
        images, channels = images[:, :, :1], 1
    span = high - low if high > low else 1.0
    levels = ((images.detach().cpu().float() - low) / span).clamp(0, 1).mul(255).round().to(torch.uint8)
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
