"""The columns of a comparison, which the terminal, Markdown, the page and the CSV file share."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vaelab.reports.cells import (
    BRACKETS,
    bracket,
    show_bracket,
    show_hole_rate,
    show_measured,
    show_size,
    show_vector,
    show_verdict,
)
from vaelab.reports.differences import CONSTANT
from vaelab.reports.holes import blindness
from vaelab.reports.table import MAIN, Row, Table, show
from vaelab.runs.naming import short_names
from vaelab.runs.tables import text_table

__all__ = ["Column", "Detail", "as_csv", "as_dicts", "as_text", "columns", "details", "table_note"]

HEADLINES = ("mutual_information", "hole_rate")  # of latent health: the main table has these too
HEALTH = {
    "mutual_information": "MI",
    "total_correlation": "TC",
    "dimension_wise_kl": "dim-wise KL",
    "aggregate_kl": "aggregate KL",
    "hole_rate": "hole rate / perfect",
    "hole_rate_matched": "matched",
    "shuffle_gap": "shuffle gap",
    "prior_gap": "prior gap",
    "aggregate_images": "images",
    "aggregate_posteriors": "posteriors",
    "elbo_draws": "draws",
}
LAYERS = {"kl_per_group": "KL", "active_units_per_group": "active units"}  # of the groups of a hierarchy
QUALITY = {"psnr": "PSNR (dB)", "ssim": "SSIM"}
SIZES = ("aggregate_images", "aggregate_posteriors", "elbo_draws")
HEADERS = {**MAIN, **HEALTH, **LAYERS, **QUALITY}
UNSHOWN = ("hole_rate_null", CONSTANT)  # beside the hole rate, and in the plot; the CSV file has them too
ENDS = ("_low", "_high")
SEEDS_NOTE = "x ±y: the mean over seeds and its 95% interval (Student's t)."
ERRORS_NOTE = (
    "x (y): a single seed and the standard error of its mean over images (of a hole rate: over its draws), "
    "which says nothing of what another training would change."
)
RANGE_NOTE = "MI is a range, shown as middle ±half its width: the value lies in it."
RANGE_OVER_SEEDS_NOTE = (
    "Over seeds, half the width of the middles' 95% interval is added to the mean half width."
)
HEALTH_NOTE = (
    "The rate splits into MI, I_q(x; z), the total correlation (TC) and the dimension-wise KL (Chen et al.,"
    " 2018); the last two sum to the aggregate KL, KL(q(z) || p(z)). Each of the four is a range, shown as "
    "its middle ±half its width; its ends come from a mixture that holds the image's own posterior and from"
    " one that does not. The lower end of MI is at most log(M + 1), with M the posteriors in the mixture "
    "(posteriors); where it is near that, the range is wide because M is small, whatever the model. N "
    "images have their codes scored (images). The hole rate is the share of prior samples that are farther "
    "from all codes than 99% of new codes are; behind the slash, that of a model without holes. Matched is "
    "the same share for samples from a Gaussian with the codes' mean and covariance. All seeds share the "
    "draws of both, so the interval over seeds lacks their error. A gap is the rise of the distortion, in "
    "nats, with the code of another image (shuffle) or a sample from the prior (prior). Draws: samples of z"
    " for each image in rate, distortion and ELBO."
)
QUALITY_NOTE = (
    "PSNR and SSIM of images decoded from z ~ q(z|x): means over up to 2,000 images "
    "(metrics.reconstruction_quality.images). Their scale is 0 to 1 for grey levels, else from the least to "
    "the largest value of the data. SSIM has a Gaussian window of 11 pixels, in smaller images of as many as "
    "fit, so it compares among images of one size."
)
LAYERS_NOTE = (
    "Of each group of latents, from coarse to fine, the mean over seeds: its KL given the groups above, in "
    "nats per image, and its active units. A group without an active unit has collapsed."
)
EVALUATED = "eval"  # the split under which vaelab-evaluate adds its numbers
EVALUATION_NOTE = (
    "What vaelab-evaluate has measured, of a single seed with the standard error in parentheses where one is "
    "known; methods and sample sizes are in each run's results.json."
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
        is_range = self.metric.rpartition("/")[2] in BRACKETS
        stat = bracket(row, self.metric) if is_range else row.stats.get(self.metric)
        return "" if stat is None else repr(stat.mean)


class Detail(NamedTuple):
    """A further table of the page: its heading, its columns and a note on how to read it."""

    title: str
    name: str
    columns: list[Column]
    note: str


def columns(table: Table, metrics: Sequence[str] | None = None, split: str | None = None) -> list[Column]:
    """Settings, number of seeds, by default the verdict, then ``metrics`` and status.

    By default the metrics of the table's split: the four of the ELBO, two of latent health, then those that
    have no table of their own (:func:`details`).
    """
    split = split or table.split
    is_main, further = metrics is None, list[str]()
    if metrics is None:
        measured = measured_on(table, split)
        metrics = [*MAIN, *(name for name in HEADLINES if name in measured)]
        further = [name for name in measured if name not in HEADERS]
    names = short_names(table.columns)
    shown = [setting(name, key, i) for i, (name, key) in enumerate(zip(names, table.columns, strict=True))]
    shown = shown or [Column("run", run_name, "run")]
    shown += [Column("n", lambda row: str(row.n), "n")] if table.folded else []
    if is_main:  # before the numbers, so that it is in view however many there are
        shown.append(Column("verdict", lambda row: show_verdict(row, table.split), "verdict"))
    shown += [metric_column(split, name) for name in (*metrics, *further)]
    shown.append(Column("status", lambda row: row.status, "status"))
    return [column for column in shown if column.key not in OPTIONAL or any(map(column.cell, table.rows))]


def run_name(row: Row) -> str:
    """The name of a row's only run; of several seeds variant and data, since a name may hold its seed."""
    return row.first.name if len(row.runs) == 1 else f"{row.first.variant}-{row.first.dataset}"


def setting(name: str, key: str, i: int) -> Column:
    return Column(name, lambda row: show(row.cells[i]), key)


def metric_column(split: str, name: str) -> Column:
    metric = f"{split}/{name}"
    special = dict.fromkeys(BRACKETS, show_bracket) | dict.fromkeys(SIZES, show_size)
    special |= dict.fromkeys(LAYERS, show_vector) | {"hole_rate": show_hole_rate}
    cell = special.get(name, show_measured)
    return Column(HEADERS.get(name, name), lambda row: cell(row, metric), name, metric)


def measured_on(table: Table, split: str) -> list[str]:
    """The metrics of a split that any run has and that a table shows, without the split's name.

    A range counts as one; a standard error is shown with what it belongs to.
    """
    names = [name.removeprefix(f"{split}/") for name in table.metrics if name.startswith(f"{split}/")]
    ranges = {f"{name}{end}": name for name in BRACKETS for end in ENDS}
    names = [name for name in names if name not in UNSHOWN and not name.endswith("_se")]
    return list(dict.fromkeys(ranges.get(name, name) for name in names))


def table_note(table: Table) -> str:
    """How to read the main table's ± and parentheses; empty where it has neither."""
    seeds = any(row.n > 1 for row in table.rows)
    errors = any(row.n == 1 and name.endswith("_se") for row in table.rows for name in row.stats)
    ranges = any(bracket(row, f"{table.split}/{name}") for row in table.rows for name in HEADLINES)
    notes = {SEEDS_NOTE: seeds, ERRORS_NOTE: errors}
    notes |= {RANGE_NOTE: ranges, RANGE_OVER_SEEDS_NOTE: ranges and seeds}
    notes |= dict.fromkeys(filter(None, [blindness(table)]), True)
    return " ".join(note for note, applies in notes.items() if applies)


def details(table: Table) -> list[Detail]:
    """The tables of latent health, of how good reconstructions look and of what was evaluated afterwards.

    Each where any run has such numbers.
    """
    measured = measured_on(table, table.split)
    health = [name for name in HEALTH if name in measured]
    quality = [name for name in QUALITY if name in measured]
    evaluated = measured_on(table, EVALUATED)
    tables = []
    if health:
        note = " ".join(filter(None, [HEALTH_NOTE, blindness(table)]))
        tables.append(Detail("Latent health", "latent-health", columns(table, health), note))
    if quality:
        shown = columns(table, quality)
        tables.append(Detail("Reconstruction quality", "reconstruction-quality", shown, QUALITY_NOTE))
    layers = [name for name in LAYERS if any(show_vector(row, f"{table.split}/{name}") for row in table.rows)]
    if layers:
        tables.append(Detail("Layers", "layers", columns(table, layers), LAYERS_NOTE))
    if evaluated:
        evaluations = columns(table, evaluated, EVALUATED)
        note = " ".join(filter(None, [EVALUATION_NOTE, blindness(table, EVALUATED)]))
        tables.append(Detail("Evaluation", "evaluation", evaluations, note))
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
    names = dict.fromkeys([*shown, *table.metrics])
    # of a range both ends are there; earlier records hold one number of it, which was one of its ends
    metrics = [name for name in names if name.rpartition("/")[2] not in (*BRACKETS, *LAYERS)]
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
