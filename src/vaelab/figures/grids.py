"""Image grids from tensors: with labels, side by side, or animated."""

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import pad

from vaelab.figures.style import CONTENT, font

__all__ = ["animation", "beside", "image_grid", "with_labels"]

SHORT_SIDE = 48  # pixels to which small images are magnified, approximately
FONT_SIZE, LINE, PADDING = 14, 19, 6
BAND = LINE + 2 * PADDING
INK, PAPER = 32, 254  # grey levels


def image_grid(
    images: Tensor,
    low: float = 0.0,
    high: float = 1.0,
    gap: int = 2,
    gap_value: int = 128,
    zoom: int | None = None,
) -> Image.Image:
    """Draw images (rows, columns, C, H, W) as one picture, ``low`` as black and ``high`` as white.

    One channel is drawn grey, three as RGB; of any other number only the first channel is drawn. Images are
    magnified by ``zoom``, by default small ones alone, without smoothing, so that single pixels stay visible.
    NaN becomes black.
    """
    height, width = images.shape[-2:]
    if images.shape[2] not in (1, 3):
        images = images[:, :, :1]
    span = high - low if high > low else 1.0
    levels = ((images.detach().cpu().float() - low) / span).clamp(0, 1).nan_to_num(0)
    levels = levels.mul(255).round().to(torch.uint8)
    if zoom is None:
        zoom = max(1, SHORT_SIDE // min(height, width)) if min(height, width) > 1 else 1
    levels = levels.repeat_interleave(zoom, -1).repeat_interleave(zoom, -2)
    cells = pad(levels, (gap, 0, gap, 0), value=gap_value)
    canvas = cells.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)  # (height, width, C)
    canvas = pad(canvas, (0, 0, 0, gap, 0, gap), value=gap_value)
    return Image.fromarray((canvas[..., 0] if canvas.shape[-1] == 1 else canvas).numpy())


def beside(parts: Sequence[tuple[str, Image.Image]], caption: str = "", width: int = 0) -> Image.Image:
    """Draw grids of equal height side by side, each with its label below; see :func:`with_labels`."""
    gap = 3 * PADDING
    joined_width = sum(picture.width + gap for _, picture in parts) - gap
    first = parts[0][1]
    joined = Image.new(first.mode, (joined_width, first.height), first.getpixel((0, 0)))
    spans, left = [], 0
    for label, picture in parts:
        joined.paste(picture, (left, 0))
        spans.append((label, left, picture.width))
        left += picture.width + gap
    zoom = _zoom(joined, width)
    page = _page(_magnified(joined, zoom), 0, BAND, caption, zoom)
    for label, left, extent in spans:
        _write_below(page, label, left * zoom, extent * zoom, joined.height * zoom)
    return page


def with_labels(
    picture: Image.Image, labels: Sequence[str] = (), caption: str = "", width: int = 0
) -> Image.Image:
    """Draw a label at the left of each row of a grid, and a caption below it.

    A label may have two lines; rows that are lower than its text get none. The grid is magnified by the least
    whole factor that makes the picture ``width`` pixels wide or more. The picture's ``info`` says where the
    grid lies (``vaelab.figures.style.CONTENT``).
    """
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    left = max((_extent(label) for label in labels), default=-2 * PADDING) + 2 * PADDING
    zoom = _zoom(picture, width - left)
    row = zoom * picture.height / max(1, len(labels))
    if row < 1.2 * FONT_SIZE * lines:
        left, labels, zoom = 0, (), _zoom(picture, width)
    page = _page(_magnified(picture, zoom), left, 0, caption, zoom)
    for i, label in enumerate(labels):
        ImageDraw.Draw(page).text(
            (left - PADDING, (i + 0.5) * row), label, _ink(page), font(FONT_SIZE), anchor="rm", align="right"
        )
    return page


def _zoom(picture: Image.Image, width: int) -> int:
    return max(1, -(-width // picture.width))


def _magnified(picture: Image.Image, zoom: int) -> Image.Image:
    size = picture.width * zoom, picture.height * zoom
    return picture if zoom == 1 else picture.resize(size, Image.Resampling.NEAREST)


def _extent(text: str) -> int:
    return max(int(font(FONT_SIZE).getlength(line)) for line in text.split("\n"))


def _page(content: Image.Image, left: int, below: int, caption: str, zoom: int) -> Image.Image:
    """A page with the content at ``left``, an empty band ``below`` it and the caption below that.

    It has the mode of the content, because a GIF of grey pictures in RGB would lose grey levels.
    """
    width = left + content.width
    lines = _wrapped(caption, width - 2 * PADDING)
    height = content.height + below + (len(lines) * LINE + 2 * PADDING if lines else 0)
    page = Image.new(content.mode, (width, height), PAPER if content.mode == "L" else (PAPER, PAPER, PAPER))
    page.paste(content, (left, 0))
    for i, line in enumerate(lines):
        place = (PADDING, content.height + below + PADDING + i * LINE)
        ImageDraw.Draw(page).text(place, line, _ink(page), font(FONT_SIZE))
    page.info[CONTENT] = f"{left} 0 {content.width} {content.height} {zoom}"
    return page


def _wrapped(text: str, width: int) -> list[str]:
    """The words of a text in lines that are not wider, if no single word is."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(FONT_SIZE).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _ink(canvas: Image.Image) -> int | tuple[int, int, int]:
    return INK if canvas.mode == "L" else (INK, INK, INK)


def _write_below(canvas: Image.Image, label: str, left: int, width: int, top: int) -> None:
    """Write the label centred below a part, in the largest readable font that is not wider than it."""
    fonts = (font(size) for size in range(FONT_SIZE, 7, -1))
    chosen = next((f for f in fonts if f.getlength(label) <= width), font(8))
    ImageDraw.Draw(canvas).text((left + width / 2, top + BAND / 2), label, _ink(canvas), chosen, anchor="mm")


def animation(frames: Sequence[Image.Image], milliseconds: int = 110) -> bytes:
    """The frames, all of one size, as an endless GIF. PIL joins equal neighbours into a longer frame."""
    file = io.BytesIO()
    first, *rest = frames
    first.save(file, format="gif", save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return file.getvalue()
