"""Parts of sentences."""

from collections.abc import Sequence

from vaelab.reports.statistics import ALPHA, MeanDifference
from vaelab.reports.table import Row, Table

__all__ = ["IMAGES", "count", "listed", "lower_first", "measured", "rows_with_verdict", "with_error"]

MOST_NAMES = 8
IMAGES = {"test": "test", "val": "validation"}


def lower_first(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def listed(names: list[str]) -> str:
    more = [f"and {len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return "; ".join(names[:MOST_NAMES] + more)


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def with_error(difference: MeanDifference, alpha: float = ALPHA) -> str:
    """``0.66 ± 0.21``: the size of the difference and the half width of its interval.

    >>> with_error(MeanDifference(-0.66, 0.1))
    '0.66 ± 0.20'
    """
    half = difference.half(alpha)
    return f"{abs(difference.mean):.2f}" + ("" if half is None else f" ± {half:.2f}")


def measured(table: Table, rows: Sequence[Row], metric: str) -> list[tuple[Row, float]]:
    """The rows that have the metric, with their means."""
    pairs = [(row, table.number(row, metric)) for row in rows]
    return [(row, value) for row, value in pairs if value is not None]


def rows_with_verdict(table: Table, label: str, metric: str, fact: str) -> str:
    """The rows with a run of this verdict: ``beta 4 (rate 0.06, 2 of 3 seeds)``."""
    texts = []
    for row in table.rows:
        verdicts = [run.verdict(table.split) for run in row.runs]
        number = sum(verdict is not None and verdict.label == label for verdict in verdicts)
        if number:
            value = table.number(row, metric)
            facts = [fact.format(value)] if value is not None else []
            facts += [f"{number} of {row.n} seeds"] if row.n > 1 else []
            texts.append(row.label + (f" ({', '.join(facts)})" if facts else ""))
    return listed(texts)
