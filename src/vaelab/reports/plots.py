"""The plots of a comparison. Each takes a table and returns a matplotlib figure, or None without data."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vaelab.figures.style import INK, MUTED, PAPER, new_figure, style_axes
from vaelab.reports.cells import show_measured
from vaelab.reports.drawing import (
    Label,
    blocks,
    legend,
    legend_height,
    line_styles,
    marked,
    place_labels,
    point_style,
)
from vaelab.reports.findings import comparable_groups
from vaelab.reports.records import read_history
from vaelab.reports.table import MAIN, Row, Table, canonical, label, show
from vaelab.runs.plans import Reference, read_reference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PLOTS", "Plot", "tooltips"]

WIDTH = 6.4  # inches: 960 pixels of a PNG file, and type that can be read on a narrow screen
CURVES = ("val/objective", "val/elbo", "val/rate", "val/distortion")
MOST_TICKS = 9
MOST_NUMBERS = 200  # cells of a heat map with their number written in
Range = tuple[float, float]


def rate_distortion(table: Table) -> "Figure | None":
    """Distortion against rate; a line joins the rows of a sweep of beta, a dotted line has one ELBO.

    Rows whose nats do not compare, because data, likelihood or condition differ, have axes of their own.
    """
    groups = {
        name: points
        for name, rows in comparable_groups(table).items()
        if (points := having(table, rows, "rate", "distortion"))
    }
    if not groups:
        return None
    heights = [4.3 if len(points) > 3 else 2.7 for points in groups.values()]
    names = [name for name, rows in marked(table).items() if in_any(rows, groups.values())]
    figure = new_figure(WIDTH, sum(heights) + legend_height(names, WIDTH))
    handles: dict[str, Any] = {}
    for part, height, points in zip(blocks(figure, groups, heights), heights, groups.values(), strict=True):
        handles |= _draw_curves(part.subplots(), table, points, (WIDTH - 0.9, height - 0.8))
    legend(figure, list(handles.values()), list(handles))
    return figure


def _draw_curves(
    axes: "Axes", table: Table, points: Sequence[Row], size: tuple[float, float]
) -> dict[str, Any]:
    """Draw rows that compare in one plane; the handles of the legend by series."""
    x_range, y_range = (shown_range(table, points, metric) for metric in ("rate", "distortion"))
    series = {name: [row for row in rows if row in points] for name, rows in marked(table).items()}
    ends = {name: constant_distortion(table, rows) for name, rows in series.items()}
    constants = sorted({end for end in ends.values() if end is not None})
    if constants:
        x_range = min(x_range[0], -0.04 * x_range[1]), 1.04 * x_range[1]
        low, high = min(y_range[0], *constants), max(y_range[1], *constants)
        y_range = low - 0.06 * (high - low), high + 0.06 * (high - low)
    axes.set(xlim=x_range, ylim=y_range)
    lines = _draw_iso_elbo_lines(axes, x_range, y_range)
    labels = [Label("constant image", 0.0, end) for end in constants]
    for reference in references(points):
        axes.plot(*reference, "-.", color=MUTED, linewidth=1.4, zorder=1.5)
        shown = [
            (x, y)
            for x, y in zip(*reference, strict=True)
            if x_range[0] < x < x_range[1] and y_range[0] < y < y_range[1]
        ]
        labels += [Label("linear model", *place) for place in shown[len(shown) // 5 :][:1]]
    varying = varying_labels(table, points)
    handles = {}
    for i, (name, rows) in enumerate(series.items()):
        if not rows:
            continue
        is_sweep = name in table.beta_series
        xs, ys = means(table, rows, "rate"), means(table, rows, "distortion")
        x_half, y_half = half_widths(table, rows, "rate"), half_widths(table, rows, "distortion")
        style = point_style(i, line=is_sweep)
        handles[name] = axes.errorbar(xs, ys, xerr=x_half, yerr=y_half, **style, label=name)
        if is_sweep and (constant := ends[name]) is not None:
            x, y = min(zip(xs, ys, strict=True))
            axes.plot([0, x], [constant, y], ":", color=style["color"], linewidth=1.4, zorder=2)
        for row, x, y in zip(rows, xs, ys, strict=True):
            # an invisible disc for the page's tooltip, larger than the marker so that it is easily hit
            axes.plot([x], [y], "o", markersize=16, alpha=0, gid=f"row-{index_of(row, table)}")
            labels.append(Label(f"β {show(row.beta)}" if is_sweep else varying[id(row)], x, y))
    for end in constants:
        axes.plot([0], [end], "D", markersize=5, color=INK, markerfacecolor=PAPER, zorder=3)
    place_labels(axes, labels, size, lines)
    style_axes(axes, xlabel="rate: KL(q(z|x) ‖ p(z)), nats per image", ylabel="distortion: −log p(x|z), nats")
    return handles


def references(rows: Sequence[Row]) -> list[Reference]:
    """The curves of the best linear models in plan.json of the rows' sweeps, each once."""
    folders = dict.fromkeys(run.folder.parent for row in rows for run in row.runs)
    found = [reference for folder in folders if (reference := read_reference(folder)) is not None]
    return [reference for i, reference in enumerate(found) if reference not in found[:i]]


def varying_labels(table: Table, rows: Sequence[Row]) -> dict[int, str]:
    """What tells each of the rows from the others, without what all of them have in common."""
    columns = [
        key for i, key in enumerate(table.columns) if len({canonical(row.cells[i]) for row in rows}) > 1
    ]
    return {id(row): label(row.first, columns) for row in rows}


def index_of(row: Row, table: Table) -> int:
    return next(i for i, other in enumerate(table.rows) if other is row)


def tooltips(table: Table) -> dict[str, str]:
    """The tooltip of each point of :func:`rate_distortion`, by the point's id in the SVG."""
    texts = {}
    for i, row in enumerate(table.rows):
        cells = {metric: show_measured(row, f"{table.split}/{metric}") for metric in MAIN}
        lines = [f"{MAIN[metric]} {cell}" for metric, cell in cells.items() if cell]
        texts[f"row-{i}"] = "\n".join([row.label, *lines, *([f"{row.n} seeds"] if row.n > 1 else [])])
    return texts


def having(table: Table, rows: Sequence[Row], *metrics: str) -> list[Row]:
    """The rows in which all of the metrics are defined."""
    return [row for row in rows if all(table.number(row, metric) is not None for metric in metrics)]


def means(table: Table, rows: Sequence[Row], metric: str) -> list[float]:
    return [row.stats[f"{table.split}/{metric}"].mean for row in rows]


def half_widths(table: Table, rows: Sequence[Row], metric: str) -> list[float]:
    """Half widths of the 95% intervals over seeds; of one seed the standard error; 0 where a row has none."""
    name = f"{table.split}/{metric}"
    return [row.stats[name].half or (row.mean(f"{name}_se") if row.n == 1 else None) or 0.0 for row in rows]


def constant_distortion(table: Table, rows: Sequence[Row]) -> float | None:
    """The distortion of the best constant output, where the rows that have one agree on it."""
    values = [value for row in rows if (value := table.number(row, "constant_distortion")) is not None]
    agree = bool(values) and max(values) - min(values) <= 1e-3 * abs(values[0])
    return round(values[0], 3) if agree else None


def shown_range(table: Table, rows: Sequence[Row], metric: str) -> Range:
    """The metric's range with a margin, wider for its intervals, but by at most a third on each side."""
    values, halves = np.array(means(table, rows, metric)), np.array(half_widths(table, rows, metric))
    low, high = float(values.min()), float(values.max())
    span = high - low or 0.1 * abs(high) or 1.0
    below = min(float((values - halves).min()), low - 0.08 * span)
    above = max(float((values + halves).max()), high + 0.12 * span)
    return max(below, low - span / 3), min(above, high + span / 3)


def iso_levels(x_range: Range, y_range: Range, count: int = 7) -> list[float]:
    """At most ``count`` or so round ELBOs, -(rate + distortion), whose lines cross the picture.

    >>> iso_levels((0, 16), (16, 28))
    [-40.0, -35.0, -30.0, -25.0, -20.0]
    """
    low, high = -(x_range[1] + y_range[1]), -(x_range[0] + y_range[0])
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _draw_iso_elbo_lines(axes: "Axes", x_range: Range, y_range: Range) -> list[Label]:
    """Dotted lines of equal ELBO, labelled where they enter the picture at the left or from above."""
    (left, right), (bottom, top) = x_range, y_range
    box = {"boxstyle": "square,pad=0.15", "facecolor": PAPER, "edgecolor": "none"}
    labels = []
    for level in iso_levels(x_range, y_range):
        axes.plot(x_range, [-level - x for x in x_range], ":", color=MUTED, linewidth=0.8, zorder=1)
        x = max(left, -level - top)
        y = -level - x
        if x < right - 0.1 * (right - left) and y > bottom + 0.06 * (top - bottom):  # not near the corners
            text = f"ELBO {level:g}".replace("-", "−")
            axes.annotate(
                text, (x, y), (4, -8), textcoords="offset points",
                fontsize=7, color=MUTED, zorder=2, bbox=box,
            )  # fmt: skip
            labels.append(Label(text, x, y - 0.03 * (top - bottom)))
    return labels


def against_beta(table: Table) -> "Figure | None":
    """Rate, distortion, ELBO and active units against beta on a log axis, where beta alone is swept."""
    series = table.beta_series
    groups = {name: rows for name, rows in comparable_groups(table).items() if in_any(rows, series.values())}
    if not groups:
        return None
    betas = sorted({row.beta or 0.0 for rows in series.values() for row in rows})
    figure = new_figure(WIDTH, 4.8 * len(groups) + 0.3)
    handles: dict[str, Any] = {}
    for part, group in zip(blocks(figure, groups, [1.0] * len(groups)), groups.values(), strict=True):
        for axes, (metric, title) in zip(part.subplots(2, 2, sharex=True).flat, MAIN.items(), strict=True):
            for i, name in enumerate(marked(table)):
                members = [row for row in series.get(name, []) if row in group]
                if rows := having(table, members, metric):
                    intervals = half_widths(table, rows, metric)
                    xs, ys = [row.beta or 0.0 for row in rows], means(table, rows, metric)
                    handles[name] = axes.errorbar(xs, ys, yerr=intervals, **point_style(i, line=True))
            axes.set_xscale("symlog", linthresh=next(beta for beta in betas if beta > 0))  # beta may be 0
            ticks = betas[:: math.ceil(len(betas) / MOST_TICKS)]
            axes.set_xticks(ticks, [show(beta) for beta in ticks])
            unit = "" if metric == "active_units" else " (nats per image)"
            style_axes(axes, title=title + unit, xlabel="β" if metric in ("elbo", "active_units") else "")
            if metric == "active_units":
                axes.set_ylim(bottom=0)
    legend(figure, list(handles.values()), list(handles))
    return figure


def in_any(rows: Sequence[Row], series: Iterable[Sequence[Row]]) -> bool:
    return any(row in members for row in rows for members in series)


def kl_heatmap(table: Table) -> "Figure | None":
    """KL per dimension: a row for each configuration; sorted within each run, then averaged."""
    from matplotlib.colors import PowerNorm

    profiles = [(row.label, profile) for row in table.rows if (profile := sorted_kl(table, row))]
    if not profiles:
        return None
    height, width = len(profiles), max(len(profile) for _, profile in profiles)
    grid = np.full((height, width), np.nan)
    for line, (_, profile) in zip(grid, profiles, strict=True):
        line[: len(profile)] = profile
    figure = new_figure(min(14.0, max(5.0, 2.6 + 0.42 * width)), min(20.0, 1.3 + 0.27 * height))
    axes = figure.subplots()
    top = float(np.nanmax(grid)) or 1.0
    mesh = axes.pcolormesh(grid, cmap="viridis", norm=PowerNorm(0.5, 0, top), rasterized=True)
    if grid.size <= MOST_NUMBERS:
        for (i, j), value in np.ndenumerate(grid):
            if np.isfinite(value):
                colour = "black" if value > 0.36 * top else "white"  # 0.6 on the square-root scale
                text = axes.text(j + 0.5, i + 0.5, f"{value:.2f}", ha="center", va="center", color=colour)
                text.set(fontsize=6.5, in_layout=False)  # measuring them for the layout takes seconds
    axes.invert_yaxis()
    axes.set_yticks(np.arange(height) + 0.5, [label for label, _ in profiles])
    every = max(1, math.ceil(width / 20))
    axes.set_xticks(np.arange(0, width, every) + 0.5, [str(d + 1) for d in range(0, width, every)])
    style_axes(axes, xlabel="latent dimensions, from the most to the least used of each run")
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="y", labelsize=8 if height <= 40 else 5)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02)
    bar.set_label("KL (nats)", color=INK, fontsize=8)
    bar.ax.tick_params(color=MUTED, labelcolor=INK, labelsize=7)
    bar.outline.set_visible(False)
    return figure


def sorted_kl(table: Table, row: Row) -> list[float] | None:
    """KL of the most used, the second most used, ... dimension in nats, averaged over the row's runs."""
    vectors = [run.vector(f"{table.split}/kl_per_dim") for run in row.runs if run.finished]
    profiles = [sorted(vector, reverse=True) for vector in vectors if vector]
    if not profiles or len({len(profile) for profile in profiles}) > 1:
        return None
    return [math.fsum(values) / len(values) for values in zip(*profiles, strict=True)]


def training_curves(table: Table) -> "Figure | None":
    """Objective, ELBO, rate and distortion of validation images over epochs; of a single epoch a point.

    Rows whose nats do not compare have axes of their own.
    """
    histories = {id(row): [read_history(run, CURVES) for run in row.runs] for row in table.rows}
    groups = comparable_groups(table, finished=False)
    recorded = {
        name: {key for row in rows for history in histories[id(row)] for key in history}
        for name, rows in groups.items()
    }
    shown = {name: [key for key in CURVES if key in recorded[name]] for name in groups}
    groups = {name: rows for name, rows in groups.items() if shown[name]}
    if not groups:
        return None
    lines = [-(-len(shown[name]) // 2) for name in groups]  # of two panels
    labels = [row.label for rows in groups.values() for row in rows]
    figure = new_figure(WIDTH, 2.3 * sum(lines) + 0.3 * len(lines) + legend_height(labels, WIDTH))
    styles = {id(row): style for row, style in zip(table.rows, line_styles(table), strict=True)}
    handles: dict[int, Any] = {}
    for part, (name, rows), line in zip(blocks(figure, groups, lines), groups.items(), lines, strict=True):
        panels = part.subplots(line, 2, squeeze=False).flat
        for axes, metric in zip_longest(panels, shown[name]):
            if metric is None:
                axes.remove()
                continue
            for row in rows:
                for history in histories[id(row)]:
                    if metric in history:
                        marker = "o" if len(history[metric][0]) == 1 else ""
                        style = {"linewidth": 1.2, "marker": marker, "markersize": 4, **styles[id(row)]}
                        handles[id(row)] = axes.plot(*history[metric], **style)[0]
            axes.xaxis.get_major_locator().set_params(integer=True)
            first, last = axes.dataLim.intervalx
            if first == last:
                axes.set_xticks([first], [f"{first:g}"])
            style_axes(axes, title=f"{metric} (nats per image)", xlabel="epoch")
    drawn = [row for row in table.rows if id(row) in handles]
    legend(figure, [handles[id(row)] for row in drawn], [row.label for row in drawn])
    return figure


class Plot(NamedTuple):
    """A plot of the report: the file's name, its heading, how to read it, and what draws it."""

    name: str
    title: str
    caption: str
    draw: Callable[[Table], "Figure | None"]


PLOTS = (
    Plot(
        "rate-distortion",
        "Rate and distortion",
        "Each point is a configuration; a line joins those that differ in β alone. Configurations whose "
        "data, likelihood or condition differ do not compare and have axes of their own. Along a thin dotted "
        "line the ELBO, −(rate + distortion), is constant; it increases towards the lower left. Bars: 95% "
        "interval over seeds, or of a single seed the standard error over images. The open diamond is the "
        "end of the curve at rate 0: the best output that is the same for every image. A dash-dotted line, "
        "in a sweep whose β were planned (sweep=auto), is what the best linear model of the training images "
        "reaches; with another likelihood than gaussian it is an approximation.",
        rate_distortion,
    ),
    Plot(
        "against-beta",
        "Against β",
        "Rate, distortion, ELBO and active units against β, on a logarithmic axis. Bars: 95% interval over"
        " seeds, or of a single seed the standard error over images.",
        against_beta,
    ),
    Plot(
        "kl-per-dimension",
        "KL per dimension",
        "Each row is a configuration; colours are on a square-root scale. Dimensions are sorted within each "
        "run, since their order means nothing; a row's sum is its rate. A configuration without a KL for "
        "each dimension has no row: an autoencoder, a codebook, a mixture or a flow as the prior.",
        kl_heatmap,
    ),
    Plot(
        "training-curves",
        "Training",
        "A line for each run on validation images; a run with a single validation is a point. Objectives of "
        "different β, or of different variants, are different quantities.",
        training_curves,
    ),
)
