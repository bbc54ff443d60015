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

__all__ = [
    "Label",
    "blocks",
    "legend",
    "legend_height",
    "line_styles",
    "marked",
    "place_labels",
    "point_style",
]

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


def marked(table: Table) -> dict[str, list[Row]]:
    """The rows that share a mark, by their name in the legend: a sweep of beta, or a single row."""
    marks: dict[str, list[Row]] = {}
    for name, rows in table.series.items():
        if name in table.beta_series:
            marks.setdefault(name, []).extend(rows)
        else:
            for row in rows:
                marks.setdefault(row.label, []).append(row)
    return marks


def line_styles(table: Table) -> list[dict[str, Any]]:
    """The colour and dashes of each row's curve.

    Rows of a sweep of beta go from dark to light; any other row has a colour and dashes of its own, of
    which there are 32.
    """
    import matplotlib
    from matplotlib.colors import to_rgb

    swept, names = table.beta_series, list(marked(table))
    if len(names) == 1 and swept:
        shades = matplotlib.colormaps["viridis"](np.linspace(0.2, 0.88, len(table.rows)))
        return [{"color": tuple(shade)} for shade in shades]
    styles: list[dict[str, Any]] = []
    for k, row in enumerate(table.rows):
        if row.series in swept and len(names) <= len(SERIES):
            members, i = table.series[row.series], names.index(row.series)
            share = 0.55 * members.index(row) / max(1, len(members) - 1)  # of white, so from dark to light
            colour = tuple((1 - share) * part + share for part in to_rgb(SERIES[i]))
            styles.append({"color": colour})
        else:
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
    columns, _ = legend_shape(names, figure.get_size_inches()[0])
    figure.legend(
        shown, names, loc="outside lower center", ncols=columns, fontsize=FONT - 0.5, frameon=False,
        labelcolor=INK, handlelength=2.2, columnspacing=1.4,
    )  # fmt: skip


def legend_shape(labels: Sequence[str], width: float) -> tuple[int, int]:
    """Columns and lines of a legend of these labels in a figure of this width, in inches."""
    number = min(len(labels), MOST_LEGEND)
    if number < 2:
        return 1, 0
    columns = max(1, int(72 * width / (CHARACTER * max(map(len, labels)) + 38)))
    lines = math.ceil(number / columns)
    return math.ceil(number / lines), lines  # of equal length, without an empty one


def legend_height(labels: Sequence[str], width: float) -> float:
    """The height in inches that :func:`legend` takes."""
    return 0.165 * legend_shape(labels, width)[1] + 0.2


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
    return start, y + up - 1, start + extent, y + up + FONT + 1


def is_free(box: Box, others: Sequence[Box]) -> bool:
    left, bottom, right, top = box
    return not any(o[0] < right and left < o[2] and o[1] < top and bottom < o[3] for o in others)
