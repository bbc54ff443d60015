"""Contact sheets: the same picture of every configuration, cut from the runs' own PNG files."""

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from vaelab.figures.style import CONTENT, font
from vaelab.reports.table import Row, Table

__all__ = [
    "SHEETS",
    "Sheet",
    "as_data_uri",
    "as_picture",
    "as_png_file",
    "contact_sheets",
    "content_of",
    "grid_rows",
]

MOST_ROWS = 60  # of more configurations, evenly spaced ones are shown, and the caption says so
MAP_WIDTH, PLOTS_PER_LINE = 420, 3
FONT_SIZE = 15
PADDING = 6
MOST_NAMES = 8
INK, PAPER = (28, 37, 49), (254, 254, 254)
FIXED_PRIOR, HIERARCHY = "vaelab.models.StandardNormal", "vaelab.models.Ladder"
GAP = (128, 128, 128)  # as between the images of a grid

Strip = Image.Image
LabelledStrip = tuple[str, Strip]
Cut = Callable[[list[Strip]], list[Strip]]  # the rows of a grid -> strips


@dataclass(frozen=True)
class Sheet:
    """A contact sheet: its file's name without suffix, its heading, how to read it, and its strips."""

    name: str
    title: str
    caption: str
    strips: list[LabelledStrip]  # label and picture, from the top
    is_plot: bool = False  # dark on light paper, which a dark page turns around


def contact_sheets(table: Table) -> list[Sheet]:
    """Samples, reconstructions, traversals and maps; those of which any run has a picture."""
    finished = [row for row in table.rows if row.first.finished]
    rows = finished
    if len(finished) > MOST_ROWS:
        rows = [finished[round(i)] for i in np.linspace(0, len(finished) - 1, MOST_ROWS)]
    with ThreadPoolExecutor() as threads:  # Pillow releases the interpreter's lock
        sheets = threads.map(lambda kind: contact_sheet(kind, rows, finished), SHEETS)
        return [sheet for sheet in sheets if sheet.strips]


def contact_sheet(kind: "Kind", rows: Sequence[Row], finished: Sequence[Row]) -> Sheet:
    """The sheet of the rows, which are some of the ``finished``; without strips if none has the picture."""
    labelled = list(pictures(rows, kind.file))
    strips = (
        grid_strips(labelled, kind.cut)
        if kind.cut
        else [(label, tile(label, picture)) for label, picture in labelled]
    )
    drawn = {label for label, _ in strips}
    caption = kind.caption or prior_caption([row for row in rows if row.label in drawn])
    notes = [caption, *left_out(finished, rows, [label for label, _ in labelled])]
    return Sheet(kind.name, kind.title, " ".join(notes), strips, is_plot=kind.cut is None)


def prior_caption(rows: Sequence[Row]) -> str:
    """What samples of the prior have in common: the noise, where latents are of the same size.

    The noise is z where no part with weights of its own makes z of it: another prior, or a hierarchy.
    """
    configs = [row.first.config for row in rows]
    fixed = all(
        config.get("prior._target_") == FIXED_PRIOR and config.get("model.posterior._target_") != HIERARCHY
        for config in configs
    )
    sizes = [row.first.latent_dim for row in rows]
    if not fixed or None in sizes or (1 < len(sizes) == len(set(sizes))):
        return "z ~ p(z) of each row's own model."
    return f"The same z ~ p(z) in {'every row' if len(set(sizes)) == 1 else 'rows of the same latent size'}."


def left_out(finished: Sequence[Row], chosen: Sequence[Row], drawn: Sequence[str]) -> list[str]:
    """Sentences about the configurations that a sheet does not show."""
    notes = []
    if len(chosen) < len(finished):
        notes.append(
            f"{len(chosen)} of {len(finished)} configurations are shown, evenly spaced in the table."
        )
    missing = [row.label for row in chosen if row.label not in drawn]
    if missing:
        names = "; ".join(missing[:MOST_NAMES]) + (
            f" and {more} more" if (more := len(missing) - MOST_NAMES) > 0 else ""
        )
        notes.append(f"No such picture in the folder of {names}.")
    return notes


def pictures(rows: Sequence[Row], file: str) -> Iterator[LabelledStrip]:
    """The rows' labels and pictures; a picture that is missing or broken is left out."""
    for row in rows:
        broken = OSError, ValueError, Image.DecompressionBombError
        with suppress(*broken), Image.open(row.first.folder / file) as picture:
            content = content_of(picture)
            yield row.label, content.convert("L" if content.mode == "L" else "RGB")


def content_of(picture: Image.Image) -> Image.Image:
    """A run's picture without its labels and caption, and not magnified; all of it if it does not say where.

    Raises:
        ValueError: what it says is not five numbers, or not within the picture.
    """
    if CONTENT not in picture.info:
        return picture
    left, top, width, height, zoom = map(int, str(picture.info[CONTENT]).split())
    right, bottom = left + width, top + height
    if not (0 <= left < right <= picture.width and 0 <= top < bottom <= picture.height and 0 < zoom <= width):
        raise ValueError("the content is not within the picture")
    cropped = picture.crop((left, top, right, bottom))
    return cropped.resize((width // zoom, height // zoom), Image.Resampling.NEAREST) if zoom > 1 else cropped


def grid_strips(labelled: Sequence[LabelledStrip], cut: Cut) -> list[LabelledStrip]:
    """Of each image grid the last strip that ``cut`` makes; one before it is the same for many grids."""
    strips: list[LabelledStrip] = []
    shared = b""
    for label, picture in labelled:
        with suppress(ValueError):  # no grid
            parts = cut(grid_rows(picture))
            if len(parts) > 1 and parts[0].tobytes() != shared:
                shared = parts[0].tobytes()
                strips.append(("originals", parts[0]))
            strips.append((label, parts[-1]))
    return strips


def as_picture(sheet: Sheet) -> Image.Image:
    """The sheet as one picture: strips below each other, plots some to a line."""
    if not sheet.is_plot:
        return stack(sheet.strips)
    tiles = [picture for _, picture in sheet.strips]
    lines = [tiles[start : start + PLOTS_PER_LINE] for start in range(0, len(tiles), PLOTS_PER_LINE)]
    return stack([("", beside(line, gap=PADDING)) for line in lines])


def tile(label: str, picture: Image.Image) -> Image.Image:
    """A plot in the width of all, with its label above it, in a palette, which halves its bytes."""
    top = FONT_SIZE + 2 * PADDING
    height = round(picture.height * MAP_WIDTH / picture.width)
    sheet = Image.new("RGB", (MAP_WIDTH, top + height), PAPER)
    ImageDraw.Draw(sheet).text((MAP_WIDTH / 2, top / 2), label, INK, font(FONT_SIZE), anchor="mm")
    sheet.paste(picture.resize((MAP_WIDTH, height), Image.Resampling.HAMMING), (0, top))
    indexed = sheet.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    colours = np.array(indexed.getpalette(), dtype=np.uint8).reshape(-1, 3)
    colours[np.asarray(indexed)[0, 0]] = PAPER  # exactly the page's, or the plot would stand out as a box
    indexed.putpalette(colours.tobytes())
    return indexed


def beside(strips: Sequence[Strip], gap: int, between: tuple[int, int, int] = PAPER) -> Strip:
    """The pictures in one, beside each other."""
    width = sum(strip.width for strip in strips) + gap * (len(strips) - 1)
    joined = Image.new("RGB", (width, max(strip.height for strip in strips)), between)
    left = 0
    for strip in strips:
        joined.paste(strip, (left, 0))
        left += strip.width + gap
    return joined


def grid_rows(picture: Image.Image) -> list[Strip]:
    """The rows of an image grid. Lines of the corner's colour across the whole picture lie between them.

    What is below the last of these lines is a caption.

    Raises:
        ValueError: there are no such lines.
    """
    pixels = np.atleast_3d(np.asarray(picture))
    is_gap = (pixels == pixels[0, 0]).all(axis=(1, 2))
    is_gap = is_gap[: int(np.flatnonzero(is_gap).max(initial=-1)) + 1]
    edges = np.flatnonzero(np.diff(np.concatenate([[True], is_gap, [True]]).astype(int)))
    if len(edges) < 2:
        raise ValueError("the picture has no grid")
    # a line of an image that has the gap's colour all over would cut a row: the highest row counts
    height = int((edges[1::2] - edges[0::2]).max())
    start = gap = int(edges[0])
    number = max(1, (len(is_gap) - start) // (height + gap))
    tops = [start + i * (height + gap) for i in range(number)]
    return [picture.crop((0, top, picture.width, top + height)) for top in tops]


def stack(labelled: Sequence[LabelledStrip]) -> Image.Image:
    """Strips below each other, each with its label at the left."""
    left = max(int(font(FONT_SIZE).getlength(label)) for label, _ in labelled) + 2 * PADDING
    width = left + max(strip.width for _, strip in labelled)
    height = sum(strip.height + PADDING for _, strip in labelled) + PADDING
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = PADDING
    for label, strip in labelled:
        draw.text((left - PADDING, top + strip.height / 2), label, INK, font(FONT_SIZE), anchor="rm")
        sheet.paste(strip, (left, top))
        top += strip.height + PADDING
    return sheet


def as_png_file(picture: Image.Image) -> bytes:
    """The picture as PNG, in grey if it has no colour."""
    if picture.mode != "L":
        grey = picture.convert("L")
        is_grey = grey.convert("RGB").tobytes() == picture.convert("RGB").tobytes()
        picture = grey if is_grey else picture
    file = io.BytesIO()
    picture.save(file, format="png", compress_level=6)  # 9 takes ten times as long
    return file.getvalue()


def as_data_uri(picture: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(as_png_file(picture)).decode("ascii")


class Kind(NamedTuple):
    """A kind of contact sheet, of the runs' pictures ``file``; without a ``cut`` these are no grids.

    The rows say what the caption of samples of the prior is.
    """

    name: str
    title: str
    caption: str | None
    file: str
    cut: Cut | None


SHEETS = (
    Kind(
        "contact-prior",
        "Samples from the prior",
        None,
        "samples/prior.png",
        lambda rows: rows[:1],
    ),
    Kind(
        "contact-mixture",
        "Samples from the fitted mixture",
        "Left: z ~ p(z), as above. Right: z from a Gaussian mixture fitted to the codes of training images, "
        "which the decoder has seen in training.",
        "samples/mixture.png",
        lambda rows: rows[:1],
    ),
    Kind(
        "contact-reconstructions",
        "Reconstructions",
        "The same held-out images in every row; the originals above.",
        "samples/reconstructions.png",
        lambda rows: rows[:2],
    ),
    Kind(
        "contact-traversals",
        "Traversals",
        "Decodings of the first held-out image's code while one dimension moves from the 1% to the 99% "
        "quantile of the aggregate posterior: the most used dimension (left), the second (right).",
        "samples/traversals.png",
        lambda rows: [beside(rows[:2], 3 * PADDING, GAP)],
    ),
    Kind(
        "contact-maps",
        "Latent maps",
        "The codes of the same held-out images, coloured by label or attribute: the latent plane, with the "
        "prior's circles of 1 and 2 standard deviations, or the codes' first two principal components.",
        "latents/map.png",
        None,
    ),
)
