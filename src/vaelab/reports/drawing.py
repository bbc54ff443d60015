"""How a comparison's plots draw series, labels and legends."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vaelab.figures.style import INK, MARKERS, PAPER, SERIES
from vaelab.reports.table import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Label", "blocks", "legend", "line_styles", "place_labels", "point_style"]

MOST_LEGEND = 48
FONT = 8  # points, of labels
CHARACTER = 0.56 * FONT  # points, the width of an average character
CORNERS = tuple((up, across, side) for across, side in ((6, "left"), (-6, "right")) for up in (3, -3 - FONT))
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))

Box = tuple[float, float, float, float]  # left, bottom, right, top; in points


class Label(NamedTuple):
    """A text at a point of the data."""

    text: str
    x: float
    y: float


def point_style(i: int, line: bool) -> dict[str, Any]:
    """How the points of the ``i``-th series are drawn, with or without a line through them.

    The first 64 differ in colour or marker, for neighbours with one colour have different markers.
    """
    return {
        "fmt": f"{MARKERS[(i + i // len(SERIES)) % len(MARKERS)]}{'-' if line else ''}",
        "color": SERIES[i % len(SERIES)],
        "linewidth": 1.4,
        "elinewidth": 0.9,
        "markersize": 5,
        "zorder": 3,
    }


def line_styles(table: Table) -> list[dict[str, Any]]:
    """The colour and dashes of each row's curve.

    Rows that differ in beta alone go from dark to light; any other row has a colour and dashes of its own, of
    which there are 32.
    """
    import matplotlib
    from matplotlib.colors import to_rgb

    swept, numbers = table.beta_series, {name: i for i, name in enumerate(table.series)}
    if len(numbers) == 1 and swept:
        shades = matplotlib.colormaps["viridis"](np.linspace(0.2, 0.88, len(table.rows)))
        return [{"color": tuple(shade)} for shade in shades]
    styles: list[dict[str, Any]] = []
    for row in table.rows:
        i, members = numbers[row.series], table.series[row.series]
        if row.series in swept and len(numbers) <= len(SERIES):
            share = 0.55 * members.index(row) / max(1, len(members) - 1)  # of white, so from dark to light
            colour = tuple((1 - share) * part + share for part in to_rgb(SERIES[i]))
            styles.append({"color": colour})
        else:
            k = len(styles)
            styles.append(
                {"color": SERIES[k % len(SERIES)], "linestyle": DASHES[k // len(SERIES) % len(DASHES)]}
            )
    return styles


def blocks(figure: "Figure", groups: Mapping[str, Sequence[Row]], heights: Sequence[float]) -> list[Any]:
    """A part of the figure for each group, below each other; with its name above it if there are several."""
    if len(groups) == 1:
        return [figure]
    parts = figure.subfigures(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, name in zip(parts, groups, strict=True):
        part.set_facecolor("none")
        part.suptitle(name, fontsize=9.5, color=INK, fontweight="bold")
    return list(parts)


def legend(figure: "Figure", handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend below everything, of as many columns as fit; the last entry says how many it leaves out."""
    from matplotlib.lines import Line2D

    if len(handles) < 2:
        return
    shown, names = list(handles), list(labels)
    if len(shown) > MOST_LEGEND:
        names = [*names[: MOST_LEGEND - 1], f"and {len(shown) - MOST_LEGEND + 1} more: see the table"]
        shown = [*shown[: MOST_LEGEND - 1], Line2D([], [], linestyle="none")]
    width = 72 * figure.get_size_inches()[0]
    columns = max(1, int(width / (CHARACTER * max(map(len, names)) + 38)))
    columns = math.ceil(len(names) / math.ceil(len(names) / columns))  # of equal length, without an empty one
    figure.legend(
        shown, names, loc="outside lower center", ncols=columns, fontsize=FONT - 0.5, frameon=False,
        labelcolor=INK, handlelength=2.2, columnspacing=1.4,
    )  # fmt: skip


def place_labels(
    axes: "Axes", labels: Sequence[Label], size: tuple[float, float], taken: Sequence[Label] = ()
) -> None:
    """Write each label beside its point where it covers neither a point nor another label, else not at all.

    Args:
        size: of the axes in inches, approximately; their limits are set.
        taken: texts in the axes that are covered only where nothing else is free, by their lower left corner.
    """
    from matplotlib.patheffects import withStroke

    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    width, height = 72 * size[0], 72 * size[1]

    def place(label: Label) -> tuple[float, float]:
        return width * (label.x - left) / (right - left), height * (label.y - bottom) / (top - bottom)

    points = [place(label) for label in labels]
    discs: list[Box] = [(x - 3, y - 3, x + 3, y + 3) for x, y in points]
    lines = [box_at(*place(text), text.text, -2) for text in taken]
    written: list[Box] = []
    for i, label in enumerate(labels):
        taken_up = [*written, *discs[:i], *discs[i + 1 :]]
        boxes = {c: box_at(*points[i], label.text, c[0], c[1], c[2]) for c in CORNERS}
        free = [
            c
            for c, box in boxes.items()
            if min(box[:2]) >= 0 and box[2] <= 1.06 * width and is_free(box, taken_up)
        ]
        if not free:
            continue
        up, across, side = next((c for c in free if is_free(boxes[c], lines)), free[0])
        written.append(boxes[up, across, side])
        axes.annotate(
            label.text, (label.x, label.y), (across, up), textcoords="offset points", ha=side,
            fontsize=FONT, color=INK, zorder=4, path_effects=[withStroke(linewidth=2.5, foreground=PAPER)],
        )  # fmt: skip


def box_at(x: float, y: float, text: str, up: float, across: float = 0, side: str = "left") -> Box:
    """The box of a text that begins or ends (``side`` right) at these points from (x, y)."""
    extent = CHARACTER * len(text)
    start = x + across - (extent if side == "right" else 0)
    return start, y + up, start + extent, y + up + FONT


def is_free(box: Box, others: Sequence[Box]) -> bool:
    left, bottom, right, top = box
    return not any(o[0] < right and left < o[2] and o[1] < top and bottom < o[3] for o in others)
