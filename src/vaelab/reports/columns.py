"""The columns of a comparison, which the terminal, Markdown, the page and the CSV file share."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vaelab.reports.table import MAIN, Row, Table, show, show_stat
from vaelab.runs.naming import short_names
from vaelab.runs.tables import text_table

__all__ = ["Column", "Detail", "as_csv", "as_dicts", "as_text", "columns", "details"]

HEADLINES = (
    "mutual_information_low",
    "mutual_information_high",
    "hole_rate",
)  # of latent health: the main table has these too
HEALTH = {
    "mutual_information_low": "MI, low",
    "mutual_information_high": "MI, high",
    "total_correlation_low": "TC, low",
    "total_correlation_high": "TC, high",
    "dimension_wise_kl_low": "dim-wise KL, low",
    "dimension_wise_kl_high": "dim-wise KL, high",
    "aggregate_kl_low": "aggregate KL, low",
    "aggregate_kl_high": "aggregate KL, high",
    "hole_rate": "hole rate",
    "hole_rate_se": "hole rate, se",
    "hole_rate_null": "hole rate, null",
    "hole_rate_matched": "matched",
    "hole_rate_matched_se": "matched, se",
    "shuffle_gap": "shuffle gap",
    "prior_gap": "prior gap",
    "aggregate_images": "images",
    "aggregate_posteriors": "posteriors",
}
EVALUATED = "eval"  # the split under which vaelab-evaluate adds its numbers
HEALTH_NOTE = (
    "The rate splits into MI, I_q(x; z), the total correlation (TC) and the dimension-wise KL (Chen et al., "
    "2018); the last two sum to the aggregate KL, KL(q(z) || p(z)). Estimated with the exact mixture of "
    "these images' posteriors, so MI is at most the log of their number. The hole rate is the share of "
    "prior samples that are farther from all codes than 99% of new codes are; 0.01 means no holes. Matched "
    "is the same share for samples from a Gaussian with the codes' mean and covariance. A gap is the rise of "
    "the distortion, in nats, with the code of another image (shuffle) or a sample from the prior (prior)."
)
EVALUATION_NOTE = (
    "What vaelab-evaluate has measured; methods, sample sizes and standard errors are in each run's "
    "results.json."
)
OPTIONAL = ("verdict", "status")  # shown where any row has one


@dataclass(frozen=True)
class Column:
    """A column: its heading, what it shows of a row, and the full key that it stands for."""

    header: str
    cell: Callable[[Row], str]
    key: str
    metric: str = ""

    def order(self, row: Row) -> str:
        """What the page sorts by: a metric in full precision, else the cell's text; empty comes last."""
        if not self.metric:
            return self.cell(row)
        number = row.mean(self.metric)
        return "" if number is None else repr(number)


class Detail(NamedTuple):
    """A further table of the page: its heading, its columns and a note on how to read it."""

    title: str
    name: str
    columns: list[Column]
    note: str


def columns(table: Table, metrics: Sequence[str] | None = None, split: str | None = None) -> list[Column]:
    """Settings, number of seeds, ``metrics``, verdict and status.

    By default the metrics of the table's split: the four of the ELBO, two of latent health, then those that
    have no table of their own (:func:`details`).
    """
    split = split or table.split
    is_main = metrics is None
    if metrics is None:
        measured = measured_on(table, split)
        metrics = [*MAIN, *(name for name in HEADLINES if name in measured)]
        metrics += [name for name in measured if name not in MAIN and name not in HEALTH]
    names = short_names(table.columns)
    shown = [setting(name, key, i) for i, (name, key) in enumerate(zip(names, table.columns, strict=True))]
    shown = shown or [Column("run", lambda row: row.first.name, "run")]
    shown += [Column("n", lambda row: str(row.n), "n")] if table.folded else []
    shown += [metric_column(split, name) for name in metrics]
    if is_main:
        shown.append(Column("verdict", lambda row: row.verdict(table.split), "verdict"))
    shown.append(Column("status", lambda row: row.status, "status"))
    return [column for column in shown if column.key not in OPTIONAL or any(map(column.cell, table.rows))]


def setting(name: str, key: str, i: int) -> Column:
    return Column(name, lambda row: show(row.cells[i]), key)


def metric_column(split: str, name: str) -> Column:
    metric = f"{split}/{name}"
    header = {**MAIN, **HEALTH}.get(name, name)
    return Column(header, lambda row: show_stat(row.stats.get(metric), name, row.n), name, metric)


def measured_on(table: Table, split: str) -> list[str]:
    """The scalars of a split that any run has, without the split's name."""
    return [name.removeprefix(f"{split}/") for name in table.metrics if name.startswith(f"{split}/")]


def details(table: Table) -> list[Detail]:
    """The tables of latent health and of what was evaluated afterwards, where any run has such numbers."""
    measured = measured_on(table, table.split)
    health = [name for name in HEALTH if name in measured]
    evaluated = [name for name in measured_on(table, EVALUATED) if not name.endswith("_se")]
    tables = []
    if health:
        tables.append(Detail("Latent health", "latent-health", columns(table, health), HEALTH_NOTE))
    if evaluated:
        evaluations = columns(table, evaluated, EVALUATED)
        tables.append(Detail("Evaluation", "evaluation", evaluations, EVALUATION_NOTE))
    return tables


def as_text(table: Table) -> str:
    """The table for a terminal."""
    shown = columns(table)
    return text_table(
        [column.header for column in shown], [[column.cell(row) for column in shown] for row in table.rows]
    )


def as_dicts(table: Table) -> list[dict[str, Any]]:
    """One dict per row: its settings, variant, status and every scalar metric of every split, unrounded.

    Where seeds are folded, ``<metric>_ci95`` is the half width of its interval. What is undefined is None.
    """
    first = [column.metric for column in columns(table) if column.metric]
    metrics = dict.fromkeys([*first, *table.metrics])
    dicts = []
    for row in table.rows:
        values = dict(zip(table.columns, row.cells, strict=True))
        values |= {"variant": row.first.variant, "dataset": row.first.dataset, "n": row.n}
        values |= {"status": row.status or "finished", "verdict": row.verdict(table.split)}
        for name in metrics:
            stat = row.stats.get(name)
            values[name] = stat.mean if stat else None
            if table.folded:
                values[f"{name}_ci95"] = stat.half if stat else None
        dicts.append({**values, "runs": ";".join(str(run.folder) for run in row.runs)})
    return dicts


def as_csv(table: Table) -> str:
    """:func:`as_dicts` as CSV; what is undefined is blank."""
    dicts = as_dicts(table)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dicts[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(dicts)
    return text.getvalue()
