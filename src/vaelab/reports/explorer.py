"""The latent explorer: sliders over tiles that the runs have decoded on a grid over latent dimensions."""

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vaelab.figures.style import EXPLORER
from vaelab.reports.sheets import as_data_uri, content_of
from vaelab.reports.table import Row, Table
from vaelab.runs.record import finite

__all__ = ["Axis", "Explorer", "Explorers", "explorers", "read_explorer"]

FILE = "samples/explorer.png"
MOST = 6  # configurations with an explorer
MOST_BYTES = 750_000  # that they take of the page, which is to stay below 2 MB
MOST_AXES = 3
MOST_NAME = 40  # characters of a dimension's name
MOST_TEXT = 10_000  # characters of what a picture says of itself
SIDE = 160  # pixels to which a tile is magnified, at the most unless it is larger


class Axis(NamedTuple):
    """A slider: the latent dimension's name, how much it is used, and z at each of its places."""

    name: str  # "dim 3", or "channel 3 at 3,5" of a map
    use: str  # "KL 1.21 nats" or "variance 0.83"
    values: list[float]

    @property
    def start(self) -> int:
        return len(self.values) // 2

    @property
    def shown(self) -> list[str]:
        """The values with two decimals; what rounds to zero has no sign."""
        return [f"{value:z.2f}" for value in self.values]


@dataclass(frozen=True)
class Explorer:
    """The tiles of a configuration and the sliders over them.

    The tile at place i, j, k of the sliders is that in column k I + i and row j, with I places of the first.
    """

    label: str
    picture: Image.Image  # tiles with a line of one pixel around each
    tile: tuple[int, int]  # width and height of one
    axes: list[Axis]
    given: int | None = None  # the label that a conditional model was given

    @property
    def zoom(self) -> int:
        return max(1, SIDE // max(self.tile))

    @cached_property
    def uri(self) -> str:
        return as_data_uri(self.picture)

    def place(self) -> tuple[int, int]:
        """Column and row of the tile that is shown first."""
        i, j, k = [axis.start for axis in self.axes] + [0] * (MOST_AXES - len(self.axes))
        return k * len(self.axes[0].values) + i, j


@dataclass(frozen=True)
class Explorers:
    """The explorers of a page, and how to read them."""

    shown: list[Explorer]
    caption: str


def explorers(table: Table) -> Explorers | None:
    """Explorers of configurations that are evenly spaced in the table; None where no run has the picture.

    There are as many as MOST and MOST_BYTES allow.
    """
    finished = [row for row in table.rows if row.first.finished]
    drawn = [row for row in finished if (row.first.folder / FILE).is_file()]
    explorer_at = cache(lambda place: explorer_of(drawn[place]))
    for number in range(min(MOST, len(drawn)), 0, -1):
        places = np.linspace(0, len(drawn) - 1, number) if number > 1 else [len(drawn) // 2]
        shown = [explorer for place in places if (explorer := explorer_at(round(place)))]
        if shown and sum(len(explorer.uri) for explorer in shown) <= MOST_BYTES:
            return Explorers(shown, caption(len(shown), len(drawn), len(finished)))
    return None


def caption(shown: int, drawn: int, finished: int) -> str:
    """How to read so many explorers, and why there are not more."""
    sentences = [
        "Decodings of z. Each slider moves one of the most used dimensions from the 1% to the 99% quantile "
        "of the aggregate posterior; all other dimensions stay at its mean. KL is in nats per image; where "
        "it is undefined, dimensions are ranked by the variance of their posterior means. Arrow keys move a "
        "slider."
    ]
    if shown < drawn:
        sentences.append(
            f"{shown} of {drawn} configurations are shown, evenly spaced in the table: the page stays small."
        )
    if drawn < finished:
        sentences.append(
            f"Configurations without an explorer: {finished - drawn}, whose codes come from a codebook or "
            "whose folders lack the picture."
        )
    return " ".join(sentences)


def explorer_of(row: Row) -> Explorer | None:
    """The explorer of a configuration; None if its picture is broken or not what a run draws."""
    broken = OSError, ValueError, Image.DecompressionBombError
    with suppress(*broken), Image.open(row.first.folder / FILE) as picture:
        return read_explorer(picture, row.label)
    return None


def read_explorer(picture: Image.Image, label: str) -> Explorer:
    """The explorer that a run's picture is (``vaelab.figures.style.EXPLORER``).

    Raises:
        ValueError: it does not say what its tiles are, or it has not as many as it says.
    """
    text = str(picture.info.get(EXPLORER, ""))
    try:
        said = json.loads(text) if len(text) <= MOST_TEXT else None
    except RecursionError as error:
        raise ValueError("its text is nested too deeply") from error
    if not isinstance(said, dict):
        raise ValueError("it does not say what its tiles are")
    lists = [said.get(name) for name in ("names", "use", "values")]
    if not all(isinstance(part, list) and 0 < len(part) <= MOST_AXES for part in lists):
        raise ValueError("it has no dimensions, or too many")
    is_kl = said.get("measure") == "KL"
    axes = [
        Axis(
            name_of(said_name),
            f"KL {number(use):.2f} nats" if is_kl else f"variance {number(use):.2f}",
            numbers(values),
        )
        for said_name, use, values in zip(*lists, strict=True)
    ]
    sheet = content_of(picture).convert("RGB")
    tile = [whole(side) for side in said["tile"]] if isinstance(said.get("tile"), list) else []
    i, j, k = [len(axis.values) for axis in axes] + [1] * (MOST_AXES - len(axes))
    expected = [1 + i * k * (tile[0] + 1), 1 + j * (tile[1] + 1)] if len(tile) == 2 and min(tile) else []
    if list(sheet.size) != expected:
        raise ValueError("its size is not that of its tiles")
    given = said.get("label")
    return Explorer(label, sheet, (tile[0], tile[1]), axes, None if given is None else whole(given))


def name_of(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_NAME:
        raise ValueError("a dimension without a name")
    return value


def number(value: Any) -> float:
    """The value if it is a finite number; a ValueError if not."""
    found = finite(value)
    if found is None:
        raise ValueError(f"not a number: {value!r:.40}")
    return found


def numbers(values: Any) -> list[float]:
    if not isinstance(values, list) or not values:
        raise ValueError("a dimension without values")
    return [number(value) for value in values]


def whole(value: Any) -> int:
    if number(value) != int(number(value)) or value < 0:
        raise ValueError(f"not a whole number: {value!r:.40}")
    return int(value)
