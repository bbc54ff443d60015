"""Contact sheets: the same picture of every configuration, one row each, cut from the runs' own PNGs."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vaelab.reports.table import Row, Table

MOST_ROWS = 24  # more are not looked at; evenly spaced ones stand for the rest
MAP_WIDTH, MAPS_A_ROW = 420, 3
# what a report may have; its contact sheets' files
NAMES = tuple(f"contact-{name}" for name in ("prior", "density", "reconstructions", "traversals", "maps"))
FONT_SIZE = 15
PADDING = 6
INK, PAPER = (28, 37, 49), (254, 254, 254)

Strip = Image.Image


@dataclass(frozen=True)
class Sheet:
    name: str  # the file's name without suffix
    title: str
    caption: str
    strips: list[tuple[str, Strip]]  # label and picture, from the top


def contact_sheets(table: Table) -> list[Sheet]:
    """Samples, reconstructions, traversals and maps; those of which any run has a picture."""
    rows = evenly([row for row in table.rows if row.first.finished], MOST_ROWS)
    sheets = [
        _sheet(rows, "prior", "Samples from the prior", "The same z ~ p(z) in every row.", first_row),
        _sheet(
            rows, "density", "Samples from the fitted density",
            "Left, z ~ p(z) as above. Right, z from a Gaussian mixture fitted to the codes of training "
            "images: what the decoder makes of the codes that it knows.", first_row,
        ),
        _sheet(
            rows, "reconstructions", "Reconstructions",
            "The same held-out images in every row; the originals above.", reconstruction_rows,
        ),
        _sheet(
            rows, "traversals", "Traversals",
            "From the first held-out image's code, the most used dimension moves (left), then the second "
            "(right), from the 1% to the 99% quantile of the aggregate posterior.", two_traversals,
        ),
        _maps(rows),
    ]  # fmt: skip
    return [sheet for sheet in sheets if sheet is not None]


def _sheet(
    rows: Sequence[Row], name: str, title: str, caption: str, cut: Callable[[Image.Image], list[Strip]]
) -> Sheet | None:
    """One labelled strip a row; the last strip that ``cut`` gives is the run's, one before it is shared."""
    labelled: list[tuple[str, Strip]] = []
    shared: bytes | None = None
    for row in rows:
        path = row.first.folder / "samples" / f"{name}.png"
        try:
            strips = cut(load(path))
        except (OSError, ValueError):
            continue
        if len(strips) > 1 and strips[0].tobytes() != shared:
            shared = strips[0].tobytes()
            labelled.append(("originals", strips[0]))
        labelled.append((row.label, strips[-1]))
    if not labelled:
        return None
    return Sheet(f"contact-{name}", title, caption, labelled)


def _maps(rows: Sequence[Row]) -> Sheet | None:
    """The latent maps, some to a strip, each with its label above it."""
    tiles = []
    for row in rows:
        try:
            tiles.append(_tile(row.label, load(row.first.folder / "latents" / "map.png")))
        except (OSError, ValueError):
            continue
    if not tiles:
        return None
    strips = []
    for start in range(0, len(tiles), MAPS_A_ROW):
        part = tiles[start : start + MAPS_A_ROW]
        size = (len(part) * (MAP_WIDTH + PADDING), max(tile.height for tile in part))
        strip = Image.new("RGB", size, PAPER)
        for i, tile in enumerate(part):
            strip.paste(tile, (i * (MAP_WIDTH + PADDING), 0))
        strips.append(("", strip))
    caption = (
        "The codes of the same held-out images, coloured by what is known of them: the latent plane, with "
        "the prior's circles of 1 and 2 standard deviations, or the codes' first two principal components."
    )
    return Sheet("contact-maps", "Latent maps", caption, strips)


def _tile(label: str, picture: Image.Image) -> Image.Image:
    font = ImageFont.load_default(size=FONT_SIZE)
    top = FONT_SIZE + 2 * PADDING
    height = round(picture.height * MAP_WIDTH / picture.width)
    tile = Image.new("RGB", (MAP_WIDTH, top + height), PAPER)
    ImageDraw.Draw(tile).text((MAP_WIDTH / 2, top / 2), label, INK, font, anchor="mm")
    tile.paste(picture.resize((MAP_WIDTH, height), Image.Resampling.LANCZOS), (0, top))
    return tile


def load(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def first_row(picture: Image.Image) -> list[Strip]:
    return [grid_rows(picture)[0]]


def reconstruction_rows(picture: Image.Image) -> list[Strip]:
    """The first originals, and below them what the model made of them."""
    return grid_rows(picture)[:2]


def two_traversals(picture: Image.Image) -> list[Strip]:
    """The two most used dimensions side by side."""
    strips = grid_rows(picture)[:2]
    gap = 3 * PADDING
    width = sum(strip.width for strip in strips) + gap * (len(strips) - 1)
    joined = Image.new("RGB", (width, strips[0].height), strips[0].getpixel((0, 0)))
    for i, strip in enumerate(strips):
        joined.paste(strip, (i * (strips[0].width + gap), 0))
    return [joined]


def grid_rows(picture: Image.Image) -> list[Strip]:
    """The rows of an image grid. Lines of the corner's colour across the whole picture lie between them.

    What is below the last of these lines is a caption.
    """
    pixels = np.asarray(picture)
    gap = (pixels == pixels[0, 0]).all(axis=(1, 2))
    gap = gap[: int(np.flatnonzero(gap).max(initial=-1)) + 1]
    edges = np.flatnonzero(np.diff(np.concatenate([[True], gap, [True]]).astype(int)))
    if len(edges) < 2:
        raise ValueError("the picture has no grid")
    # an image whose own line has the gap's colour all over would cut a row: rows are as high as the highest
    height = int((edges[1::2] - edges[0::2]).max())
    start, gap_height = int(edges[0]), int(edges[0])
    count = max(1, (len(gap) - start) // (height + gap_height))
    tops = [start + i * (height + gap_height) for i in range(count)]
    return [picture.crop((0, top, picture.width, top + height)) for top in tops]


def stack(labelled: Sequence[tuple[str, Strip]]) -> Image.Image:
    """Strips below each other, each with its label at the left."""
    font = ImageFont.load_default(size=FONT_SIZE)
    left = max(int(font.getlength(label)) for label, _ in labelled) + 2 * PADDING
    width = left + max(strip.width for _, strip in labelled)
    height = sum(strip.height + PADDING for _, strip in labelled) + PADDING
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = PADDING
    for label, strip in labelled:
        draw.text((left - PADDING, top + strip.height / 2), label, INK, font, anchor="rm")
        sheet.paste(strip, (left, top))
        top += strip.height + PADDING
    return sheet


def as_picture(sheet: Image.Image) -> bytes:
    """The sheet as PNG."""
    file = io.BytesIO()
    sheet.save(file, format="png")
    return file.getvalue()


def evenly(rows: Sequence[Row], most: int) -> list[Row]:
    """At most so many rows, evenly spaced, the first and the last among them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(i)] for i in np.linspace(0, len(rows) - 1, most)]
