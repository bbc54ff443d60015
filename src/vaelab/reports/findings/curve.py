"""What changes along beta, and whether each run is the best at its own objective."""

from collections.abc import Sequence
from itertools import pairwise

from vaelab.reports.differences import CONSTANT, above_constant, cost_difference
from vaelab.reports.findings.sentences import listed, measured, with_error
from vaelab.reports.statistics import ALPHA, MeanDifference
from vaelab.reports.table import Row, Table, show

__all__ = ["active_units_along_beta", "constant_image", "dominance", "rate_along_beta"]

LEAST = 0.1  # nats: what is mentioned where records hold no standard error


def rate_along_beta(table: Table, rows: Sequence[Row]) -> list[str]:
    """How rate and distortion move with beta."""
    points = measured(table, rows, "rate")
    if len(points) < 2:
        return []
    (first, start), (last, end) = points[0], points[-1]
    text = f"From beta {show(first.beta)} to {show(last.beta)} the rate goes from {start:.2f} to {end:.2f}"
    before, after = table.number(first, "distortion"), table.number(last, "distortion")
    if before is not None and after is not None:
        text += f" and the distortion from {before:.2f} to {after:.2f}"
    below = " (A rate below 0 is an estimate with an error: no divergence is negative.)"
    return [f"{text}.{below if min(start, end) < 0 else ''}"]


def dominance(table: Table, rows: Sequence[Row]) -> list[str]:
    """Which betas are beaten at their own objective, D + beta R, by the run of another beta.

    A run at the optimum of D + beta R is beaten by none, whatever the others are. ALPHA is shared among the
    comparisons of each beta: one at its optimum is reported with a probability of at most ALPHA / 2.
    """
    sentences = []
    trained = [row for row in rows if own_weight(row) is not None]
    for row in trained:
        beta = own_weight(row) or 0.0
        others = [other for other in trained if other is not row]
        gaps = [(cost_difference(row, other, table.split, beta, "images"), other) for other in others]
        worse = [(gap, other) for gap, other in gaps if gap and exceeds_zero(gap, ALPHA / len(others))]
        if worse:
            gap, other = max(worse, key=lambda pair: pair[0].mean)
            sentences.append(
                f"Beta {show(beta)} was not trained to its optimum: at its own objective, D + {show(beta)} R,"
                f" beta {show(other.beta)} is {with_error(gap)} nats better ({basis(gap)}). It had too few "
                "epochs, or it overfits."
            )
    return sentences


def constant_image(table: Table, rows: Sequence[Row], prefix: str) -> list[str]:
    """Which rows a constant image beats: rate 0, and the distortion of the best constant output.

    At their own objective where that is D + beta R; others where their distortion is larger.
    """
    at_objective: list[str] = []
    at_distortion: list[str] = []
    for row in rows:
        beta = own_weight(row)
        gap = above_constant(row, table.split, beta or 0.0)
        if gap is not None and exceeds_zero(gap, ALPHA):
            names = at_distortion if beta is None else at_objective
            names.append(f"{row.label} (by {with_error(gap)} nats)")
    constant = next(iter(measured(table, rows, CONSTANT)), None)
    if constant is None:
        return []
    point = f"{prefix}A constant image (rate 0, distortion {constant[1]:.2f})"
    sentences = []
    if at_objective:
        beaten = listed(at_objective)
        sentences.append(f"{point} is better at their own objective, D + beta R, than {beaten}.")
    if at_distortion:
        sentences.append(f"{point} has a lower distortion than {listed(at_distortion)}.")
    return sentences


def own_weight(row: Row) -> float | None:
    """beta, where the row's objective is D + beta R."""
    return row.first.rate_weight


def exceeds_zero(difference: MeanDifference, alpha: float) -> bool:
    """Whether the difference is above 0 by more than chance; without an error, by LEAST."""
    return difference.mean > LEAST if difference.error is None else difference.is_positive(alpha)


def basis(difference: MeanDifference) -> str:
    """What the interval rests on."""
    if difference.error is None:
        return "these records hold no standard error, so this may be chance"
    return f"{difference.over}, {1 - ALPHA:.0%}"


def active_units_along_beta(table: Table, rows: Sequence[Row]) -> list[str]:
    """Where active units first lie one or more below the most so far, and where they fall most."""
    points = measured(table, rows, "active_units")
    if len(points) < 2:
        return []
    most = points[0][1]
    for row, value in points:
        if value <= most - 1:
            text = f"Active units first drop by one or more at beta {show(row.beta)}, "
            text += f"from {most:g} to {value:g}"
            drops = [(x - y, a, b, x, y) for (a, x), (b, y) in pairwise(points)]
            drop, a, b, x, y = max(drops, key=lambda drop: drop[0])
            if drop > most - value:
                text += f"; the largest drop, from {x:g} to {y:g}, "
                text += f"is between beta {show(a.beta)} and {show(b.beta)}"
            return [f"{text}."]
        most = max(most, value)
    values = sorted({value for _, value in points})
    if len(values) == 1:
        return [f"All betas have {values[0]:g} active units."]
    return [f"Active units stay between {values[0]:g} and {values[-1]:g} and never drop by one or more."]
