"""What a cell of a comparison shows: ranges, standard errors, intervals over seeds, verdicts."""

import math

from vaelab.reports.statistics import Stat, fold
from vaelab.reports.table import Row, show_stat

__all__ = [
    "BRACKETS",
    "bracket",
    "show_bracket",
    "show_hole_rate",
    "show_measured",
    "show_size",
    "show_vector",
    "show_verdict",
]

BRACKETS = ("mutual_information", "total_correlation", "dimension_wise_kl", "aggregate_kl")
"""The quantities of which a record has ``<name>_low`` and ``<name>_high``."""


def bracket(row: Row, metric: str) -> Stat | None:
    """The middle and half width of the range in which the metric lies; None where no run has both ends.

    Of several seeds: the mean of the middles ± the mean of the half widths plus the half width of the 95%
    interval of the middles. The ends hold the value of each run, and their width does not shrink with the
    number of seeds; what seeds differ by comes on top.
    """
    ends = [(run.number(f"{metric}_low"), run.number(f"{metric}_high")) for run in row.runs if run.finished]
    both = [(low, high) for low, high in ends if low is not None and high is not None]
    middle = fold([(low + high) / 2 for low, high in both])
    if middle is None:
        return None
    width = sum(high - low for low, high in both) / (2 * len(both))
    return Stat(middle.mean, width + (middle.half or 0.0), middle.n)


def show_bracket(row: Row, metric: str) -> str:
    """``5.10 ±0.40``; blank where no run has both ends."""
    return show_stat(bracket(row, metric), metric, row.n)


def show_measured(row: Row, metric: str) -> str:
    """``-25.02 ±0.31``, the 95% interval over seeds; of one seed ``-25.02 (0.18)``, the standard error."""
    stat, error = row.stats.get(metric), row.stats.get(f"{metric}_se")
    text = show_stat(stat, metric, row.n)
    if stat is None or stat.half is not None or error is None:
        return text
    number = show_stat(Stat(stat.mean, None, 1), metric)
    error_text = show_stat(Stat(error.mean, None, 1), metric)
    return f"{number} ({error_text}){text.removeprefix(number)}"


def show_hole_rate(row: Row, metric: str) -> str:
    """``0.023 (0.005) / 0.013``: the rate as any metric, and that of a model without holes if it is known."""
    text, perfect = show_measured(row, metric), row.stats.get(f"{metric}_null")
    return (
        text if perfect is None or not text else f"{text} / {show_stat(Stat(perfect.mean, None, 1), metric)}"
    )


def show_size(row: Row, metric: str) -> str:
    """``360``; of seeds that differ the least and the most, ``24-29``: sizes are known, so have no error."""
    sizes = [size for run in row.runs if run.finished and (size := run.number(metric)) is not None]
    return "-".join(f"{size:g}" for size in sorted({min(sizes), max(sizes)})) if sizes else ""


def show_vector(row: Row, metric: str) -> str:
    """``0.58 / 2.63``: the numbers of each group, means over seeds; blank where seeds have other groups."""
    vectors = [vector for run in row.runs if run.finished and (vector := run.vector(metric))]
    if not vectors or len({len(vector) for vector in vectors}) > 1:
        return ""
    means = [math.fsum(values) / len(values) for values in zip(*vectors, strict=True)]
    return " / ".join(f"{mean:.2f}".removesuffix(".00") for mean in means)


def show_verdict(row: Row, split: str) -> str:
    """``pruned (3 of 10)``, ``collapsed (shuffle gap 0.09 ± 0.05)``: the verdict and what decided it.

    Of seeds that differ ``2 healthy, 1 pruned (9 of 10)``; a number that the seeds don't share is left out.
    """
    grounds: dict[str, list[str]] = {}
    for run in row.runs:
        if (verdict := run.verdict(split)) is not None:
            grounds.setdefault(verdict.label, []).append(verdict.ground)
    texts = []
    for label, found in grounds.items():
        ground = f" ({found[0]})" if found[0] and len(set(found)) == 1 else ""
        texts.append(f"{len(found)} {label}{ground}" if len(grounds) > 1 else f"{label}{ground}")
    return ", ".join(texts)
