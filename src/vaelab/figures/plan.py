"""The picture of a plan: the thresholds of the data's directions, and the reference curve."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vaelab.figures.style import INK, MUTED, SERIES, new_figure, style_axes
from vaelab.functional.reference_curve import ReferenceCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plan_figure"]

DRAWN = 0.1  # of the smallest beta: thresholds below it are left out
APART = 0.03  # of the height: points that are nearer to each other have one label


def plan_figure(curve: ReferenceCurve, betas: Sequence[float], title: str = "") -> "Figure":
    """Left, the beta from which each direction is dead; right, distortion against rate, with these betas."""
    figure = new_figure(10.0, 4.4)
    left, right = figure.subplots(1, 2)
    _draw_thresholds(left, curve, betas)
    _draw_curve(right, curve, betas)
    if title:
        figure.suptitle(title, color=INK, fontsize=10)
    return figure


def _draw_thresholds(axes: "Axes", curve: ReferenceCurve, betas: Sequence[float]) -> None:
    shown = [t for t in curve.thresholds if t > DRAWN * betas[0]]
    axes.plot(range(1, len(shown) + 1), shown, ".-", color=SERIES[0], linewidth=1, markersize=4)
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(0.9, 1.1 * max(len(shown), curve.latent_dim))
    axes.set_ylim(DRAWN * betas[0], 1.6 * betas[-1])
    for beta in betas:
        axes.axhline(beta, linestyle=":", color=MUTED, linewidth=0.8)
        axes.annotate(
            f"β {beta:g}: {curve.at(beta).active_units} live", (1, beta), (3, 0), va="center",
            xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=7, color=INK,
        )  # fmt: skip
    axes.axvline(curve.latent_dim, color=SERIES[1], linewidth=1)
    axes.annotate(
        f"latent_dim {curve.latent_dim}", (curve.latent_dim, 0), (-3, 4), ha="right",
        xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=7, color=SERIES[1],
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda value, _: "")
    style_axes(
        axes,
        xlabel="direction of the data, the largest first",
        ylabel="threshold: the β from which it is dead",
    )


def _draw_curve(axes: "Axes", curve: ReferenceCurve, betas: Sequence[float]) -> None:
    line = [curve.at(float(beta)) for beta in curve.betas()]
    axes.plot([p.rate for p in line], [p.distortion for p in line], "-.", color=INK, linewidth=1.2)
    height = line[-1].distortion - line[0].distortion
    labelled: list[float] = []
    for beta in betas:
        point = curve.at(beta)
        axes.plot([point.rate], [point.distortion], "o", color=SERIES[0], markersize=5)
        if all(abs(point.distortion - other) > APART * height for other in labelled):
            place = (point.rate, point.distortion)
            axes.annotate(f"β {beta:g}", place, (6, 3), textcoords="offset points", fontsize=7, color=INK)
            labelled.append(point.distortion)
    style_axes(axes, xlabel="rate: nats per image", ylabel="distortion: −log p(x|z), nats per image")
