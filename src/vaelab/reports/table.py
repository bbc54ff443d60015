"""The table of a comparison: one row per configuration, with its seeds folded."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

from vaelab.reports.records import RecordedRun
from vaelab.reports.statistics import Stat, fold
from vaelab.runs.comparable import bears_on_result
from vaelab.runs.naming import short_names
from vaelab.runs.record import finite

__all__ = ["MAIN", "Row", "Table", "build_table", "canonical", "configuration", "label", "show", "show_stat"]

BETA = "model.beta"
DIGEST = "data.sha256"
SEED = "seed"
NAMES = ("model", "data")  # the groups whose option is a name that needs no key beside it
MAIN = {"rate": "rate", "distortion": "distortion", "elbo": "ELBO", "active_units": "active units"}
"""The metrics that every table and plot shows first, and what they are called there."""


@dataclass(frozen=True)
class Row:
    """A configuration: its runs, of which the finished ones have numbers."""

    runs: tuple[RecordedRun, ...]
    cells: tuple[Any, ...]  # the values of the table's columns
    label: str  # names and values of the columns: "beta 4, latent_dim 8"
    series: str  # the same without beta: rows that differ in beta alone share it
    stats: dict[str, Stat]  # by full name, as "test/elbo"

    @property
    def first(self) -> RecordedRun:
        """The run that stands for the configuration: a finished one if there is any."""
        return representative(self.runs)

    @property
    def beta(self) -> float | None:
        return self.first.beta

    @property
    def n(self) -> int:
        return sum(run.finished for run in self.runs)

    @property
    def status(self) -> str:
        """The states of the runs that have no numbers: ``1 failed``; of a single run ``failed``."""
        counts = Counter(run.status for run in self.runs if not run.finished)
        alone = len(self.runs) == 1
        return ", ".join(name if alone else f"{count} {name}" for name, count in counts.items())

    def mean(self, metric: str) -> float | None:
        return self.stats[metric].mean if metric in self.stats else None

    def verdict(self, split: str) -> str:
        """``healthy``; of seeds that differ ``2 healthy, 1 pruned``; empty where no run has a verdict."""
        counts = Counter(verdict.label for run in self.runs if (verdict := run.verdict(split)) is not None)
        if len(counts) < 2:
            return next(iter(counts), "")
        return ", ".join(f"{n} {label}" for label, n in counts.items())


@dataclass(frozen=True)
class Table:
    """The rows of a comparison, and the settings by which they differ."""

    columns: tuple[str, ...]  # full keys: model.beta, seed, ...
    rows: tuple[Row, ...]
    split: str  # test or val
    folded: bool
    repeats: tuple[RecordedRun, ...] = ()  # left out: the same configuration and seed as a later run

    @property
    def runs(self) -> list[RecordedRun]:
        return [run for row in self.rows for run in row.runs]

    @property
    def metrics(self) -> list[str]:
        """Full names of every scalar that any run has, in the order of the records."""
        return list(dict.fromkeys(name for row in self.rows for name in row.stats))

    @cached_property
    def series(self) -> dict[str, list[Row]]:
        """The rows by series, by ascending beta within each."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.series, []).append(row)
        return groups

    @cached_property
    def beta_series(self) -> dict[str, list[Row]]:
        """Of each series the rows with numbers and a beta, where these differ in the KL's weight alone.

        Only there do rate and distortion trace a curve over beta: besides ``model.beta`` one setting differs,
        the weight of the KL, and has beta's values.
        """
        result = {}
        for name, members in self.series.items():
            rows = [row for row in members if row.n and row.beta is not None]
            betas = [row.beta for row in rows]
            configs = [settings(row.first, without=(SEED, BETA)) for row in rows]
            values = [[config.get(key) for config in configs] for key in dict.fromkeys(chain(*configs))]
            differing = [column for column in values if len(set(map(canonical, column))) > 1]
            if len(set(betas)) > 1 and differing in ([], [betas]):
                result[name] = rows
        return result

    def number(self, row: Row, metric: str) -> float | None:
        return row.mean(f"{self.split}/{metric}")


def build_table(runs: Sequence[RecordedRun], split: str = "test", folded: bool = True) -> Table:
    """The runs as rows; if ``folded``, runs that differ in their seed alone share one."""
    runs = told_apart_by_images(runs)
    groups, repeats = group(runs) if folded else ([[run] for run in runs], [])
    firsts = [representative(members) for members in groups]
    columns = distinguishing_columns(firsts, folded)
    betas = {run.beta for run in firsts} - {None}
    rows = []
    for run, members in zip(firsts, groups, strict=True):
        cells = tuple(value_of(run, key) for key in columns)
        others = [key for key in columns if key != BETA or run.beta is None]
        series = label(run, others if len(betas) > 1 else [])
        rows.append(Row(tuple(members), cells, label(run, columns), series, fold_metrics(members)))
    order = {series: i for i, series in enumerate(dict.fromkeys(row.series for row in rows))}
    rows.sort(key=lambda row: (order[row.series], row.beta is not None, row.beta or 0.0))
    return Table(columns, tuple(rows), split, folded, tuple(repeats))


def told_apart_by_images(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """The runs; those on other images under the same settings of the data get the setting ``data.sha256``."""

    def data(run: RecordedRun) -> str:
        return canonical([run.dataset, {k: v for k, v in settings(run, ()).items() if k.startswith("data.")}])

    digests: dict[str, set[str]] = {}
    for run in runs:
        if run.data_sha256:
            digests.setdefault(data(run), set()).add(run.data_sha256)
    return [
        replace(run, config=run.config | {DIGEST: run.data_sha256[:8]})
        if run.data_sha256 and len(digests[data(run)]) > 1
        else run
        for run in runs
    ]


def group(runs: Sequence[RecordedRun]) -> tuple[list[list[RecordedRun]], list[RecordedRun]]:
    """The runs by configuration, and those left out: a rerun of the same seed is not a new sample.

    Of the runs with one seed the latest finished one counts.
    """
    groups: dict[str, list[RecordedRun]] = {}
    for run in runs:
        groups.setdefault(configuration(run), []).append(run)
    repeats: list[RecordedRun] = []
    for key, members in groups.items():
        kept: dict[Any, RecordedRun] = {}
        for run in sorted(members, key=lambda run: (run.finished, run.started)):
            seed = run.folder if run.seed is None else run.seed
            repeats += [kept[seed]] if seed in kept else []
            kept[seed] = run
        groups[key] = [run for run in members if run in kept.values()]
    return list(groups.values()), repeats


def representative(runs: Sequence[RecordedRun]) -> RecordedRun:
    return next((run for run in runs if run.finished), runs[0])


def configuration(run: RecordedRun) -> str:
    """What two runs share that are seeds of one configuration: every setting that bears on the result."""
    config = settings(run, without=(SEED,))
    if not config:  # a record without its config
        config = {key: value for key, value in run.swept.items() if key != SEED} | {BETA: run.beta}
    return canonical([run.variant, run.dataset, config])


def settings(run: RecordedRun, without: Sequence[str]) -> dict[str, Any]:
    """The run's settings that bear on its result."""
    return {key: value for key, value in run.config.items() if key not in without and bears_on_result(key)}


def label(run: RecordedRun, columns: Sequence[str]) -> str:
    """``beta_vae, beta 4``: a number comes with its name; the variant where the columns tell nothing."""
    parts = []
    for key, name in zip(columns, short_names(columns), strict=True):
        if (value := value_of(run, key)) is not None:
            parts.append(show(value) if key in NAMES else f"{name} {show(value)}")
    return ", ".join(parts) or run.variant


def fold_metrics(runs: Sequence[RecordedRun]) -> dict[str, Stat]:
    """Mean and interval of every scalar metric over the finished runs."""
    finished = [run for run in runs if run.finished]
    names = dict.fromkeys(name for run in finished for name in run.metrics)
    stats = {name: fold([run.number(name) for run in finished]) for name in names}
    return {name: stat for name, stat in stats.items() if stat is not None}


def distinguishing_columns(runs: Sequence[RecordedRun], folded: bool) -> tuple[str, ...]:
    """Variant and data where they differ, swept keys, then whichever key tells apart what still looks alike.

    Two variants may differ in many settings; only the name says which they are.
    """
    columns = [key for key in NAMES if len({canonical(value_of(run, key)) for run in runs}) > 1]
    columns += [key for run in runs for key in run.swept if not (folded and key == SEED)]
    columns = list(dict.fromkeys(columns))
    columns += [DIGEST] if any(DIGEST in run.config for run in runs) else []

    def distinct(keys: list[str]) -> int:
        return len({canonical([value_of(run, key) for key in keys]) for run in runs})

    keys = [key for run in runs for key in settings(run, without=(SEED,))]
    keys.sort(key=lambda key: key.startswith("trainer."))  # how it was trained, after what was trained
    candidates = [BETA, "model.latent_dim", "trainer.max_epochs", *keys]
    candidates += [] if folded else [SEED]
    for key in dict.fromkeys(candidates):
        if distinct(columns) == len(runs):
            break
        if distinct([*columns, key]) > distinct(columns):
            columns.append(key)
    return tuple(sorted(columns, key=lambda key: key not in NAMES))


def value_of(run: RecordedRun, key: str) -> Any:
    """A run's value of a config key or group, from wherever the record has it; None if nowhere."""
    if key in run.swept:
        return run.swept[key]
    fallback = {"model": run.variant, "data": run.dataset, SEED: run.seed, BETA: run.beta}
    return run.config.get(key, fallback.get(key))


def canonical(value: Any) -> str:
    """A text that is equal for equal values; 1 and 1.0 are equal.

    >>> canonical({"a": 1, "b": [2.0]}) == canonical({"b": [2], "a": 1.0})
    True
    """

    def as_float(item: Any) -> Any:
        if isinstance(item, dict):
            return {str(key): as_float(part) for key, part in item.items()}
        if isinstance(item, list | tuple):
            return [as_float(part) for part in item]
        number = finite(item)
        return item if number is None else number

    return json.dumps(as_float(value), sort_keys=True, default=str)


def show(value: Any) -> str:
    """A setting as it would be typed."""
    number = finite(value)
    if number is not None:
        return f"{number:g}"
    return "" if value is None else str(value)


DIGITS = {
    "active_units": 1,
    "mse": 4,
    "ssim": 3,
    "hole_rate": 3,
    "hole_rate_null": 3,
    "low_density_rate": 3,
    "hole_rate_matched": 3,
}  # others have 2
WHOLE = ("active_units", "aggregate_images", "aggregate_posteriors")


def show_stat(stat: Stat | None, metric: str, runs: int | None = None) -> str:
    """``-25.02 ±0.31``; blank where undefined. Its own n is added where fewer runs than ``runs`` have it.

    >>> show_stat(Stat(-25.018, 0.314, 2), "test/elbo", runs=3)
    '-25.02 ±0.31 (n=2)'
    """
    if stat is None:
        return ""
    name = metric.rsplit("/", 1)[-1]
    digits = 0 if name in WHOLE and stat.mean == round(stat.mean) else DIGITS.get(name, 2)
    text = f"{stat.mean:.{digits}f}"
    if stat.half is not None:
        text += f" ±{stat.half:.{max(digits, 1)}f}" if stat.half else " ±0"
    return text + (f" (n={stat.n})" if runs is not None and stat.n != runs else "")
