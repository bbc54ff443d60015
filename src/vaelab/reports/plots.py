"""The figures of a comparison: a table in, a matplotlib figure out, or None for nothing to show."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vaelab.figures.style import INK, MARKERS, MUTED, PAPER, SERIES, dress, new_figure
from vaelab.reports.records import read_history
from vaelab.reports.table import MAIN, Row, Table, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LEGEND = 12
MOST_NUMBERS = 200  # cells of a heat map with their number written in


def rate_distortion(table: Table) -> "Figure | None":
    """Distortion against rate, a line for each series through its betas; dotted lines have one ELBO each."""
    series = rate_distortion_series(table)
    if not series:
        return None
    figure = new_figure(7.0, 5.0)
    axes = figure.subplots()
    points = [point_of(table, row) for rows in series.values() for row in rows]
    x_range, y_range = ranges(table, [row for rows in series.values() for row in rows])
    for level in iso_levels(x_range, y_range):
        axes.plot(x_range, [-level - x for x in x_range], ":", color=MUTED, linewidth=0.8, zorder=1)
        place = iso_place(level, x_range, y_range)
        if place:
            text = f"ELBO {level:g}".replace("-", "−")
            axes.annotate(
                text, place, (4, -8), textcoords="offset points", fontsize=6.5, color=MUTED, zorder=2,
                bbox={"boxstyle": "square,pad=0.15", "facecolor": PAPER, "edgecolor": "none"},
            )  # fmt: skip
    clear = clear_labels(points, x_range, y_range)
    for i, (name, rows) in enumerate(series.items()):
        xs, ys = zip(*(point_of(table, row) for row in rows), strict=True)
        axes.errorbar(
            xs, ys, xerr=halves(table, rows, "rate"), yerr=halves(table, rows, "distortion"),
            fmt=f"{MARKERS[i % len(MARKERS)]}{'-' if has_betas(rows) else ''}", color=SERIES[i % len(SERIES)],
            linewidth=1.4, elinewidth=0.9, markersize=5.5, label=name, zorder=3,
        )  # fmt: skip
        for row, x, y in zip(rows, xs, ys, strict=True):
            if (x, y) in clear:
                _label(axes, point_label(row), x, y)
    axes.set_xlim(x_range)
    axes.set_ylim(y_range)
    dress(
        axes,
        xlabel="rate: KL(q(z|x) ‖ p(z)), nats per image",
        ylabel="distortion: −log p(x|z), nats per image",
    )
    if len(series) > 1:
        _legend(axes, len(series))
    return figure


def rate_distortion_series(table: Table) -> dict[str, list[Row]]:
    """The rows that have both a rate and a distortion, by series."""
    series = {
        name: [
            row for row in rows if None not in (table.number(row, "rate"), table.number(row, "distortion"))
        ]
        for name, rows in table.series.items()
    }
    return {name: rows for name, rows in series.items() if rows}


def point_of(table: Table, row: Row) -> tuple[float, float]:
    rate, distortion = table.number(row, "rate"), table.number(row, "distortion")
    assert rate is not None
    assert distortion is not None
    return rate, distortion


def point_label(row: Row) -> str:
    return f"β {show(row.beta)}" if row.beta is not None else row.label


def has_betas(rows: Sequence[Row]) -> bool:
    return len({row.beta for row in rows}) > 1


def halves(table: Table, rows: Sequence[Row], metric: str) -> list[float] | None:
    """Half widths of the 95% intervals, 0 where there is none; None if there is none at all."""
    stats = [row.stats[f"{table.split}/{metric}"] for row in rows]
    return [stat.half or 0.0 for stat in stats] if any(stat.half for stat in stats) else None


def limits(values: Sequence[float], halves: Sequence[float]) -> tuple[float, float]:
    """The values' range with a margin, wider for their intervals, but by no more than a third each way."""
    low, high = min(values), max(values)
    span = high - low or 0.1 * abs(high) or 1.0
    below = min(min(value - half for value, half in zip(values, halves, strict=True)), low - 0.08 * span)
    above = max(max(value + half for value, half in zip(values, halves, strict=True)), high + 0.12 * span)
    return max(below, low - span / 3), min(above, high + span / 3)


def ranges(table: Table, rows: Sequence[Row]) -> tuple[tuple[float, float], tuple[float, float]]:
    """What the rate-distortion picture shows: the ranges of rate and distortion."""
    points = [point_of(table, row) for row in rows]
    rates, distortions = zip(*points, strict=True)
    none = [0.0] * len(rows)
    return (
        limits(rates, halves(table, rows, "rate") or none),
        limits(distortions, halves(table, rows, "distortion") or none),
    )


def clear_labels(
    points: Sequence[tuple[float, float]], x_range: tuple[float, float], y_range: tuple[float, float]
) -> set[tuple[float, float]]:
    """The points whose labels stand clear of those before them: 3.5% of the picture apart."""
    spans = x_range[1] - x_range[0], y_range[1] - y_range[0]
    clear: list[tuple[float, float]] = []
    for x, y in points:
        if all(math.hypot((x - a) / spans[0], (y - b) / spans[1]) > 0.035 for a, b in clear):
            clear.append((x, y))
    return set(clear)


def iso_levels(x_range: tuple[float, float], y_range: tuple[float, float], count: int = 7) -> list[float]:
    """Round ELBOs, -(rate + distortion), whose lines cross the picture."""
    low, high = -(x_range[1] + y_range[1]), -(x_range[0] + y_range[0])
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def iso_place(
    level: float, x_range: tuple[float, float], y_range: tuple[float, float]
) -> tuple[float, float] | None:
    """Where the line of an ELBO enters the picture from above or from the left; None near its corners."""
    y = -level - x_range[0]
    if y <= y_range[1]:
        return (x_range[0], y) if y > y_range[0] + 0.06 * (y_range[1] - y_range[0]) else None
    x = -level - y_range[1]
    return (x, y_range[1]) if x < x_range[1] - 0.1 * (x_range[1] - x_range[0]) else None


def against_beta(table: Table) -> "Figure | None":
    """Rate, distortion, ELBO and active units against beta on a log axis."""
    series = {
        name: [row for row in rows if row.beta is not None and row.n] for name, rows in table.series.items()
    }
    series = {name: rows for name, rows in series.items() if rows}
    betas = sorted({row.beta for rows in series.values() for row in rows if row.beta is not None})
    if len(betas) < 2:
        return None
    figure = new_figure(8.0, 5.2)
    panels = figure.subplots(2, 2, sharex=True).flat
    for axes, (metric, title) in zip(panels, MAIN.items(), strict=True):
        for i, (name, rows) in enumerate(series.items()):
            known = [row for row in rows if table.number(row, metric) is not None]
            if not known:
                continue
            axes.errorbar(
                [row.beta for row in known], [table.number(row, metric) for row in known],
                yerr=halves(table, known, metric), fmt=f"{MARKERS[i % len(MARKERS)]}-",
                color=SERIES[i % len(SERIES)], linewidth=1.4, elinewidth=0.9, markersize=4.5, label=name,
            )  # fmt: skip
        _beta_axis(axes, betas)
        unit = "" if metric == "active_units" else " (nats per image)"
        dress(axes, title=title + unit, xlabel="β" if metric in ("elbo", "active_units") else "")
        if metric == "active_units":
            axes.set_ylim(bottom=0)
    if len(series) > 1:
        _legend(figure.axes[0], len(series))
    return figure


def _beta_axis(axes: "Axes", betas: Sequence[float]) -> None:
    """A log axis; linear below the smallest positive beta if some beta is 0."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    if betas[0] > 0:
        axes.set_xscale("log")
    else:
        axes.set_xscale("symlog", linthresh=min((beta for beta in betas if beta > 0), default=1.0))
    if len(betas) <= 9:
        axes.set_xticks(betas, [show(beta) for beta in betas])
    else:
        if betas[0] > 0:
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda beta, _: show(beta)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def kl_heatmap(table: Table) -> "Figure | None":
    """KL per dimension: a row for each configuration; sorted within each run, then averaged."""
    rows = [row for row in table.rows if sorted_kl(table, row) is not None]
    if not rows:
        return None
    from matplotlib.colors import PowerNorm

    profiles = [sorted_kl(table, row) or [] for row in rows]
    width = max(map(len, profiles))
    grid = np.full((len(rows), width), np.nan)
    for i, profile in enumerate(profiles):
        grid[i, : len(profile)] = profile
    figure = new_figure(min(14.0, max(5.0, 2.6 + 0.42 * width)), min(20.0, 1.3 + 0.27 * len(rows)))
    axes = figure.subplots()
    top = float(np.nanmax(grid)) or 1.0
    mesh = axes.pcolormesh(grid, cmap="viridis", norm=PowerNorm(0.5, 0, top), rasterized=True)
    if grid.size <= MOST_NUMBERS:
        for (i, j), value in np.ndenumerate(grid):
            if np.isfinite(value):
                colour = "black" if value > 0.45 * top else "white"
                text = axes.text(j + 0.5, i + 0.5, f"{value:.2f}", ha="center", va="center", color=colour)
                text.set(fontsize=6.5, in_layout=False)  # measuring them for the layout takes seconds
    axes.invert_yaxis()
    axes.set_yticks(np.arange(len(rows)) + 0.5, [row.label for row in rows])
    every = max(1, math.ceil(width / 20))
    axes.set_xticks(np.arange(0, width, every) + 0.5, [str(d + 1) for d in range(0, width, every)])
    dress(axes, xlabel="latent dimensions, from the most to the least used of each run")
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="y", labelsize=8 if len(rows) <= 40 else 5)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02)
    bar.set_label("KL (nats), square-root scale", color=INK, fontsize=8)
    bar.ax.tick_params(color=MUTED, labelcolor=INK, labelsize=7)
    bar.outline.set_visible(False)
    return figure


def sorted_kl(table: Table, row: Row) -> list[float] | None:
    """KL of the most used, the second most used, ... dimension in nats, averaged over the row's runs."""
    vectors = [run.vector(f"{table.split}/kl_per_dim") for run in row.runs if run.finished]
    known = [sorted(vector, reverse=True) for vector in vectors if vector]
    if not known or len({len(vector) for vector in known}) > 1:
        return None
    return [math.fsum(values) / len(values) for values in zip(*known, strict=True)]


def training_curves(table: Table) -> "Figure | None":
    """ELBO, rate and distortion over epochs on validation images; on training images where those lack."""
    import matplotlib

    histories = [(i, row, read_history(run)) for i, row in enumerate(table.rows) for run in row.runs]
    histories = [(i, row, history) for i, row, history in histories if history]
    wanted = ["val/elbo", "val/rate", "val/distortion"]
    if not any(name in history for _, _, history in histories for name in wanted):
        wanted = ["train/loss", "train/kl", "train/distortion"]
    names = [name for name in wanted if any(name in history for _, _, history in histories)]
    if not names:
        return None
    figure = new_figure(1.2 + 3.1 * len(names), 3.4)
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    colours = matplotlib.colormaps["viridis"](np.linspace(0.2, 0.88, max(2, len(table.rows))))
    for axes, name in zip(panels, names, strict=True):
        labelled: set[int] = set()
        for i, row, history in histories:
            if name in history:
                label = None if i in labelled else row.label
                axes.plot(*history[name], color=colours[i], linewidth=1.2, label=label)
                labelled.add(i)
        dress(axes, title=f"{name} (nats per image)", xlabel="epoch")
    if len({i for i, _, _ in histories}) <= MOST_LEGEND:
        _legend(panels[-1], len(histories))
    return figure


def _label(axes: "Axes", text: str, x: float, y: float) -> None:
    from matplotlib.patheffects import withStroke

    axes.annotate(
        text, (x, y), (6, 4), textcoords="offset points", fontsize=8, color=INK, zorder=4,
        path_effects=[withStroke(linewidth=2.5, foreground=PAPER)],
    )  # fmt: skip


def _legend(axes: "Axes", entries: int) -> None:
    if entries > 1:
        legend = axes.legend(fontsize=7.5, frameon=False, labelcolor=INK, ncols=1 + (entries > MOST_LEGEND))
        legend.set_in_layout(entries <= MOST_LEGEND)
