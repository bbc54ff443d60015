"""Image grids from tensors: with labels, side by side, or animated."""

import io
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["animation", "beside", "image_grid", "with_labels"]

SHORT_SIDE = 48  # pixels to which small images are magnified, approximately
FONT_SIZE, PADDING = 14, 6
INK, PAPER = 32, 254  # grey levels


def image_grid(
    images: Tensor, low: float = 0.0, high: float = 1.0, gap: int = 2, gap_value: int = 128
) -> Image.Image:
    """Draw images (rows, columns, C, H, W) as one picture, ``low`` as black and ``high`` as white.

    One channel is drawn grey, three as RGB; of any other number only the first channel is drawn. Small images
    are magnified by a whole factor without smoothing, so that single pixels stay visible. NaN becomes black.
    """
    height, width = images.shape[-2:]
    if images.shape[2] not in (1, 3):
        images = images[:, :, :1]
    span = high - low if high > low else 1.0
    levels = ((images.detach().cpu().float() - low) / span).clamp(0, 1).nan_to_num(0)
    levels = levels.mul(255).round().to(torch.uint8)
    zoom = max(1, SHORT_SIDE // min(height, width)) if min(height, width) > 1 else 1
    levels = levels.repeat_interleave(zoom, -1).repeat_interleave(zoom, -2)
    cells = pad(levels, (gap, 0, gap, 0), value=gap_value)
    canvas = cells.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)  # (height, width, C)
    canvas = pad(canvas, (0, 0, 0, gap, 0, gap), value=gap_value)
    return Image.fromarray((canvas[..., 0] if canvas.shape[-1] == 1 else canvas).numpy())


def beside(parts: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Draw grids of equal height side by side, each with its label below."""
    gap, band = 3 * PADDING, FONT_SIZE + 2 * PADDING
    first = parts[0][1]
    canvas = _page(first, sum(picture.width + gap for _, picture in parts) - gap, first.height + band)
    gap_colour: Any = first.getpixel((0, 0))
    canvas.paste(gap_colour, (0, 0, canvas.width, first.height))
    left = 0
    for label, picture in parts:
        canvas.paste(picture, (left, 0))
        _write_below(canvas, label, left, picture.width, picture.height)
        left += picture.width + gap
    return canvas


def with_labels(picture: Image.Image, labels: Sequence[str], caption: str = "") -> Image.Image:
    """Draw a label at the left of each row of a grid, and a caption below the grid.

    Rows that are lower than a line of text get no labels.
    """
    row = picture.height / len(labels)
    font = ImageFont.load_default(size=FONT_SIZE)
    left = 0 if row < FONT_SIZE else max(int(font.getlength(label)) for label in labels) + 2 * PADDING
    band = FONT_SIZE + 2 * PADDING if caption else 0
    canvas = _page(picture, left + picture.width, picture.height + band)
    canvas.paste(picture, (left, 0))
    for i, label in enumerate(labels if left else ()):
        ImageDraw.Draw(canvas).text((left - PADDING, (i + 0.5) * row), label, _ink(canvas), font, anchor="rm")
    if caption:
        _write_below(canvas, caption, 0, canvas.width, picture.height)
    return canvas


def _page(like: Image.Image, width: int, height: int) -> Image.Image:
    """An empty page in the mode of ``like``, because a GIF of grey pictures in RGB would lose grey levels."""
    return Image.new(like.mode, (width, height), PAPER if like.mode == "L" else (PAPER, PAPER, PAPER))


def _ink(canvas: Image.Image) -> int | tuple[int, int, int]:
    return INK if canvas.mode == "L" else (INK, INK, INK)


def _write_below(canvas: Image.Image, label: str, left: int, width: int, top: int) -> None:
    """Write the label centred below a picture, in the largest readable font that is not wider than it."""
    fonts = (ImageFont.load_default(size=size) for size in range(FONT_SIZE, 7, -1))
    font = next((f for f in fonts if f.getlength(label) <= width), ImageFont.load_default(size=8))
    middle = (left + width / 2, top + FONT_SIZE / 2 + PADDING)
    ImageDraw.Draw(canvas).text(middle, label, _ink(canvas), font, anchor="mm")


def animation(frames: Sequence[Image.Image], milliseconds: int = 110) -> bytes:
    """The frames, all of one size, as an endless GIF. PIL joins equal neighbours into a longer frame."""
    file = io.BytesIO()
    first, *rest = frames
    first.save(file, format="gif", save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return file.getvalue()
