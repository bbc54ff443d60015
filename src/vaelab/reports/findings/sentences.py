"""Parts of sentences."""

from collections.abc import Sequence

from vaelab.reports.statistics import ALPHA, MeanDifference
from vaelab.reports.table import Row, Table

__all__ = ["IMAGES", "count", "listed", "lower_first", "measured", "rows_with_verdict", "with_error"]

MOST_NAMES = 8
MOST_GROUNDS = 3  # of seeds with one verdict
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


def rows_with_verdict(table: Table, label: str, fact: str = "{}") -> str:
    """The rows with a run of this verdict, and the numbers that decided it.

    ``beta 4 (no active unit, 2 of 3 seeds)``; of seeds whose numbers differ the first MOST_GROUNDS.
    """
    texts = []
    for row in table.rows:
        verdicts = [verdict for run in row.runs if (verdict := run.verdict(table.split)) is not None]
        grounds = [verdict.ground for verdict in verdicts if verdict.label == label]
        if grounds:
            facts = [fact.format(ground) for ground in dict.fromkeys(grounds) if ground][:MOST_GROUNDS]
            facts += [f"{len(grounds)} of {row.n} seeds"] if row.n > 1 else []
            texts.append(row.label + (f" ({', '.join(facts)})" if facts else ""))
    return listed(texts)
