"""The columns of a comparison, which the terminal, Markdown, the page and the CSV file share."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vaelab.reports.cells import BRACKETS, bracket, show_bracket, show_measured, show_verdict
from vaelab.reports.table import MAIN, Row, Table, show
from vaelab.runs.naming import short_names
from vaelab.runs.tables import text_table

__all__ = ["Column", "Detail", "as_csv", "as_dicts", "as_text", "columns", "details"]

HEADLINES = ("mutual_information", "hole_rate", "hole_rate_null")  # of latent health, in the main table too
HEALTH = {
    "mutual_information": "MI",
    "total_correlation": "TC",
    "dimension_wise_kl": "dim-wise KL",
    "aggregate_kl": "aggregate KL",
    "hole_rate": "hole rate",
    "hole_rate_null": "no holes",
    "hole_rate_matched": "matched",
    "shuffle_gap": "shuffle gap",
    "prior_gap": "prior gap",
    "aggregate_images": "images",
    "aggregate_posteriors": "posteriors",
    "elbo_draws": "draws",
}
HEADERS = {**MAIN, **HEALTH, "constant_distortion": "distortion at R = 0"}
ENDS = ("_low", "_high")
ERRORS_NOTE = (
    "x ±y: the 95% interval of the mean over seeds; of a range, as said above. x (y): of a single seed, with "
    "the standard error, of the draws for a hole rate and of the mean over images otherwise; it says nothing "
    "of what another training would change."
)
HEALTH_NOTE = (
    "The rate splits into MI, I_q(x; z), the total correlation (TC) and the dimension-wise KL (Chen et "
    "al., 2018); the last two sum to the aggregate KL, KL(q(z) || p(z)). Each of these is a range, its "
    "middle ± its half width: at one end the mixture that stands for q(z) holds the image's own "
    "posterior, at the other it does not. Over seeds the half width of the middles' 95% interval is added "
    "to the mean half width. The lower end of MI can't exceed the log of the number of posteriors by "
    "much: where the rate is above it, a wide range means too few posteriors. The hole rate is the share "
    'of prior samples that are farther from all codes than 99% of new codes are; "no holes" is its value '
    "for a model without holes. Matched is the same share for samples from a Gaussian with the codes' "
    "mean and covariance. A gap is the rise of the distortion, in nats, with the code of another image "
    "(shuffle) or a sample from the prior (prior). Images: those whose z are scored; posteriors: those in "
    "the mixture; draws: samples of z per image in the ELBO. " + ERRORS_NOTE
)
EVALUATED = "eval"  # the split under which vaelab-evaluate adds its numbers
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
        """What the page sorts by: a metric, or a range's middle, in full precision; else the cell's text.

        Empty comes last.
        """
        if not self.metric:
            return self.cell(row)
        number = middle.mean if (middle := bracket(row, self.metric)) else row.mean(self.metric)
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
        shown.append(Column("verdict", lambda row: show_verdict(row, table.split), "verdict"))
    shown.append(Column("status", lambda row: row.status, "status"))
    return [column for column in shown if column.key not in OPTIONAL or any(map(column.cell, table.rows))]


def setting(name: str, key: str, i: int) -> Column:
    return Column(name, lambda row: show(row.cells[i]), key)


def metric_column(split: str, name: str) -> Column:
    metric = f"{split}/{name}"
    cell = show_bracket if name in BRACKETS else show_measured
    return Column(HEADERS.get(name, name), lambda row: cell(row, metric), name, metric)


def measured_on(table: Table, split: str) -> list[str]:
    """The metrics of a split that any run has and that a table shows, without the split's name.

    A range counts as one; a standard error is shown with what it belongs to.
    """
    names = [name.removeprefix(f"{split}/") for name in table.metrics if name.startswith(f"{split}/")]
    ranges = {f"{name}{end}": name for name in BRACKETS for end in ENDS}
    return list(dict.fromkeys(ranges.get(name, name) for name in names if not name.endswith("_se")))


def details(table: Table) -> list[Detail]:
    """The tables of latent health and of what was evaluated afterwards, where any run has such numbers."""
    measured = measured_on(table, table.split)
    health = [name for name in HEALTH if name in measured]
    evaluated = measured_on(table, EVALUATED)
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
    shown = [column.metric for column in columns(table) if column.metric]
    first = [name for name in shown if name.rsplit("/", 1)[-1] not in BRACKETS]  # both ends stand for these
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
