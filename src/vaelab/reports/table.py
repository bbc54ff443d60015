"""The table: one row a configuration, its seeds folded; which columns tell the configurations apart."""

import csv
import io
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vaelab.reports.records import Run
from vaelab.reports.statistics import Stat, fold
from vaelab.runs.comparable import bears_on_result
from vaelab.runs.record import finite
from vaelab.runs.tables import text_table

BETA = "model.beta"
SEED = "seed"
MAIN = {"rate": "rate", "distortion": "distortion", "elbo": "ELBO", "active_units": "active units"}
HEADLINES = ("mutual_information", "hole_rate")  # of latent health: beside the main ones
NAMES = {
    **MAIN,
    "mutual_information": "MI",
    "total_correlation": "TC",
    "dimension_wise_kl": "dim-wise KL",
    "aggregate_kl": "aggregate KL",
    "hole_rate": "hole rate",
    "hole_rate_matched": "matched",
    "shuffle_gap": "shuffle gap",
    "prior_gap": "prior gap",
    "aggregate_images": "images",
}
# A table of their own: the split of the rate, and how the decoder takes other z.
HEALTH = (
    "mutual_information",
    "total_correlation",
    "dimension_wise_kl",
    "aggregate_kl",
    "hole_rate",
    "hole_rate_matched",
    "shuffle_gap",
    "prior_gap",
    "aggregate_images",
)
EVALUATED = "eval"  # what vaelab-evaluate has added


@dataclass(frozen=True)
class Row:
    """A configuration: its runs, of which the finished ones have numbers."""

    runs: tuple[Run, ...]
    cells: tuple[Any, ...]  # the values of the table's columns
    label: str  # the columns in words: "beta 4, latent_dim 8"
    series: str  # the same without beta: rows that differ in beta alone share it
    stats: dict[str, Stat]  # by full name, as "test/elbo"

    @property
    def first(self) -> Run:
        """The run that stands for the configuration: a finished one if there is any."""
        return next((run for run in self.runs if run.finished), self.runs[0])

    @property
    def beta(self) -> float | None:
        return self.first.beta

    @property
    def n(self) -> int:
        return sum(run.finished for run in self.runs)

    @property
    def status(self) -> str:
        """What to say of runs that have no numbers: ``1 failed``; of a single run ``failed``."""
        counts = Counter(run.status for run in self.runs if not run.finished)
        alone = len(self.runs) == 1
        return ", ".join(name if alone else f"{count} {name}" for name, count in counts.items())

    def mean(self, metric: str) -> float | None:
        return self.stats[metric].mean if metric in self.stats else None

    def verdict(self, split: str) -> str:
        """``healthy``; of seeds that differ ``2 healthy, 1 partial``; empty where none can be told."""
        found = Counter(verdict.label for run in self.runs if (verdict := run.verdict(split)) is not None)
        return (
            next(iter(found), "") if len(found) < 2 else ", ".join(f"{n} {word}" for word, n in found.items())
        )


@dataclass(frozen=True)
class Table:
    columns: tuple[str, ...]  # full keys: model.beta, seed, ...
    rows: tuple[Row, ...]
    split: str  # test or val
    folded: bool
    repeats: tuple[Run, ...] = ()  # left out: the same configuration and seed as a later run

    @property
    def runs(self) -> list[Run]:
        return [run for row in self.rows for run in row.runs]

    @property
    def names(self) -> list[str]:
        """The columns' short names: the last part of the key where that is unambiguous."""
        return [short_name(column, self.columns) for column in self.columns]

    @property
    def metrics(self) -> list[str]:
        """Scalar metrics of the split, without its name: the four of the ELBO, then the others.

        Without the details of latent health, which :attr:`health` has.
        """
        found = self._measured(self.split)
        others = [name for name in found if name not in MAIN and name not in HEALTH]
        return [*MAIN, *(name for name in HEADLINES if name in found), *others]

    @property
    def health(self) -> list[str]:
        """Those of HEALTH that any run has."""
        found = self._measured(self.split)
        return [name for name in HEALTH if name in found]

    @property
    def evaluated(self) -> list[str]:
        """What ``vaelab-evaluate`` has measured of any run, without ``eval/``; standard errors left out."""
        return [name for name in self._measured(EVALUATED) if not name.endswith("_se")]

    def _measured(self, split: str) -> list[str]:
        prefix = f"{split}/"
        return [name.removeprefix(prefix) for name in self.all_metrics if name.startswith(prefix)]

    @property
    def all_metrics(self) -> list[str]:
        """Full names of every scalar that any run has, in the order of the records."""
        return list(dict.fromkeys(name for row in self.rows for name in row.stats))

    @property
    def series(self) -> dict[str, list[Row]]:
        """The rows by series, by ascending beta within each."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.series, []).append(row)
        return groups

    def number(self, row: Row, metric: str) -> float | None:
        return row.mean(f"{self.split}/{metric}")


def build_table(runs: Sequence[Run], split: str = "test", folded: bool = True) -> Table:
    """Group the runs into rows; ``folded`` makes runs that differ in their seed alone one row."""
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault(configuration(run) if folded else run.folder, []).append(run)
    repeats: list[Run] = []
    if folded:
        groups = {key: _latest_of_each_seed(members, repeats) for key, members in groups.items()}
    firsts = [next((run for run in members if run.finished), members[0]) for members in groups.values()]
    columns = distinguishing_columns(firsts, folded)
    betas = {run.beta for run in firsts if run.beta is not None}
    rows = []
    for run, members in zip(firsts, groups.values(), strict=True):
        cells = tuple(value_of(run, column) for column in columns)
        label = describe(columns, cells) or run.variant
        apart = [(c, v) for c, v in zip(columns, cells, strict=True) if c != BETA]
        series = describe(*zip(*apart, strict=True)) if apart and len(betas) > 1 else run.variant
        finished = [member for member in members if member.finished]
        names = dict.fromkeys(name for member in finished for name in member.metrics)
        stats = {name: fold([member.number(name) for member in finished]) for name in names}
        known = {name: stat for name, stat in stats.items() if stat is not None}
        rows.append(Row(tuple(members), cells, label, series, known))
    order = {series: i for i, series in enumerate(dict.fromkeys(row.series for row in rows))}
    rows.sort(key=lambda row: (order[row.series], row.beta is not None, row.beta or 0.0))
    return Table(columns, tuple(rows), split, folded, tuple(repeats))


def configuration(run: Run) -> str:
    """What makes two runs replicates of each other: everything but the seed, names and places."""
    config = {key: value for key, value in run.config.items() if not incidental(key)}
    if not config:  # a record without its config: what is known of it
        config = {key: value for key, value in run.swept.items() if key != SEED} | {BETA: run.beta}
    return canonical([run.variant, run.dataset, config])


def _latest_of_each_seed(members: list[Run], repeats: list[Run]) -> list[Run]:
    """A rerun of the same seed is no further sample: the latest finished one counts, others are repeats."""
    kept: dict[Any, Run] = {}
    for run in sorted(members, key=lambda run: (run.finished, run.started)):
        key = run.folder if run.seed is None else run.seed
        if key in kept:
            repeats.append(kept[key])
        kept[key] = run
    return [run for run in members if run in kept.values()]


def distinguishing_columns(runs: Sequence[Run], folded: bool) -> tuple[str, ...]:
    """Every swept key; then, while some rows look alike, whichever config key tells more of them apart."""
    columns = list(dict.fromkeys(key for run in runs for key in run.swept if not (folded and key == SEED)))

    def distinct(keys: list[str]) -> int:
        return len({canonical([value_of(run, key) for key in keys]) for run in runs})

    keys = [key for run in runs for key in run.config if not incidental(key)]
    keys.sort(key=lambda key: key.startswith("trainer."))  # how it was run, after what was run
    candidates = ["model", "data", BETA, "model.latent_dim", "trainer.max_epochs", *keys]
    candidates += [] if folded else [SEED]
    for key in dict.fromkeys(candidates):
        if distinct(columns) == len(runs):
            break
        if distinct([*columns, key]) > distinct(columns):
            columns.append(key)
    return tuple(sorted(columns, key=lambda key: key not in ("model", "data")))


def value_of(run: Run, key: str) -> Any:
    """A run's value of a config key or group, from wherever the record has it; None if nowhere."""
    if key in run.swept:
        return run.swept[key]
    known = {"model": run.variant, "data": run.dataset, SEED: run.seed, BETA: run.beta}
    return run.config.get(key, known.get(key))


def incidental(key: str) -> bool:
    """Whether two runs may differ in this key and still be two seeds of one configuration."""
    return key == SEED or not bears_on_result(key)


def canonical(value: Any) -> str:
    """Equal for equal values; 1 and 1.0 are equal."""

    def plain(item: Any) -> Any:
        if isinstance(item, dict):
            return {str(key): plain(part) for key, part in item.items()}
        if isinstance(item, list | tuple):
            return [plain(part) for part in item]
        return finite(item) if isinstance(item, int | float) and finite(item) is not None else item

    return json.dumps(plain(value), sort_keys=True, default=str)


def short_name(key: str, keys: Sequence[str]) -> str:
    last = key.rsplit(".", 1)[-1]
    return key if sum(other.rsplit(".", 1)[-1] == last for other in keys) > 1 else last


def describe(columns: Sequence[str], cells: Sequence[Any]) -> str:
    """``beta_vae, beta 4``: an option of model or data speaks for itself, a number needs its name."""
    parts = []
    for column, value in zip(columns, cells, strict=True):
        if value is not None:
            name = "" if column in ("model", "data") else f"{short_name(column, columns)} "
            parts.append(f"{name}{show(value)}")
    return ", ".join(parts)


def show(value: Any) -> str:
    """A setting as it would be typed."""
    if value is None:
        return ""
    number = finite(value)
    return f"{number:g}" if number is not None else str(value)


def show_stat(stat: Stat | None, metric: str = "", runs: int | None = None) -> str:
    """``-25.02 ±0.31``; blank where undefined. Its own n is added where fewer runs than ``runs`` have it."""
    if stat is None:
        return ""
    name = metric.rsplit("/", 1)[-1]
    whole = name in ("active_units", "aggregate_images") and stat.mean == round(stat.mean)
    digits = 0 if whole else digits_of(name)
    text = f"{stat.mean:.{digits}f}"
    if stat.half is not None:
        text += f" ±{stat.half:.{max(digits, 1)}f}" if stat.half else " ±0"
    return text + (f" (n={stat.n})" if runs is not None and stat.n != runs else "")


def digits_of(name: str) -> int:
    return {"active_units": 1, "mse": 4, "hole_rate": 3, "hole_rate_matched": 3}.get(name, 2)


def cells_as_text(
    table: Table, metrics: Sequence[str] | None = None, split: str | None = None
) -> tuple[list[str], list[list[str]]]:
    """Header and rows, as the terminal, Markdown and the page show them; of ``table.metrics`` by default."""
    metrics, split = table.metrics if metrics is None else metrics, split or table.split
    names = table.names or ["run"]
    header = [*names, *(["n"] if table.folded else [])]
    header += [NAMES.get(metric, metric) for metric in metrics]
    verdicts = [row.verdict(table.split) if split == table.split else "" for row in table.rows]
    status = any(row.status for row in table.rows)
    rows = []
    for row, verdict in zip(table.rows, verdicts, strict=True):
        cells = [show(value) for value in row.cells] or [row.first.name]
        cells += [str(row.n)] if table.folded else []
        stats = (row.stats.get(f"{split}/{metric}") for metric in metrics)
        cells += [show_stat(s, m, row.n) for m, s in zip(metrics, stats, strict=True)]
        rows.append(cells + ([verdict] if any(verdicts) else []) + ([row.status] if status else []))
    return header + (["verdict"] if any(verdicts) else []) + (["status"] if status else []), rows


def details(table: Table) -> list[tuple[str, str, list[str], str]]:
    """Further tables: title, how to read it, metrics, split. Those that any run has something for."""
    health = (
        "Latent health",
        "The rate splits into MI, I_q(x; z), the total correlation (TC) and the dimension-wise KL (Chen et "
        "al., 2018); the last two sum to the aggregate KL, KL(q(z) || p(z)). Estimated with the exact "
        "mixture of these images' posteriors, so MI is at most the log of their number. The hole rate is "
        "the share of prior samples farther from all codes than 99% of fresh codes are: 0.01 is no holes; "
        "matched, of samples from a Gaussian of the codes' own mean and covariance, whatever their scale. "
        "The gaps say by how many nats the distortion rises with another image's code (shuffle) and with "
        "the prior's.",
        table.health,
        table.split,
    )
    evaluated = (
        "Evaluation",
        "What vaelab-evaluate has measured; methods, sample sizes and standard errors stand in each run's "
        "results.json.",
        table.evaluated,
        EVALUATED,
    )
    return [part for part in (health, evaluated) if part[2]]


def as_text(table: Table) -> str:
    """The table for a terminal."""
    return text_table(*cells_as_text(table))


def as_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(header), "|" + " --- |" * len(header), *map(line, rows)])


def as_csv(table: Table) -> str:
    """Every scalar metric of every split, in full precision; intervals as half widths beside the means."""
    metrics = list(dict.fromkeys([*(f"{table.split}/{name}" for name in table.metrics), *table.all_metrics]))
    parts = [(name, f"{name}_ci95") if table.folded else (name,) for name in metrics]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")  # None becomes a blank
    facts = ["variant", "dataset", "n", "status", "verdict"]
    writer.writerow([*table.columns, *facts, *itertools.chain(*parts), "runs"])
    for row in table.rows:
        numbers: list[float | None] = []
        for name in metrics:
            stat = row.stats.get(name)
            mean, half = (stat.mean, stat.half) if stat else (None, None)
            numbers += [mean, half] if table.folded else [mean]
        known = [row.first.variant, row.first.dataset, row.n, row.status or "finished"]
        known.append(row.verdict(table.split))
        writer.writerow([*row.cells, *known, *numbers, ";".join(str(run.folder) for run in row.runs)])
    return text.getvalue()
