"""Finding and reading records: any schema, any state; what can't be read is named and left out."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaelab.errors import UserError
from vaelab.runs.find import natural, record_folders
from vaelab.runs.health import Verdict, verdict
from vaelab.runs.naming import MULTIRUN
from vaelab.runs.record import FILE_NAME, HISTORY_FILES, SCHEMA, finite, flatten, read_record
from vaelab.runs.status import sweep_jobs, true_status


@dataclass(frozen=True)
class Run:
    """What a comparison knows of a run. Missing keys of the record are None or empty."""

    folder: Path
    status: str  # finished, running, interrupted, failed
    error: str | None
    name: str
    variant: str
    dataset: str
    seed: int | None
    beta: float | None  # nats per nat; None if there is no KL term or its weight is a schedule
    started: str
    swept: dict[str, Any]
    config: dict[str, Any]  # flat: {"model.beta": 4, ...}
    setup: dict[str, Any]  # flat: git revision, package versions
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.status == "finished"

    def number(self, metric: str) -> float | None:
        """A scalar metric; None where it is missing, undefined or infinite."""
        return finite(self.metrics.get(metric))

    def verdict(self, split: str) -> Verdict | None:
        """Whether the posterior collapsed, on the images of ``split``; None if its numbers don't tell."""
        return verdict(self.metrics, split) if self.finished else None

    def vector(self, metric: str) -> list[float] | None:
        """A metric with one number a dimension; None where it or any of its numbers is missing."""
        values = self.metrics.get(metric)
        if not isinstance(values, list) or not values:
            return None
        numbers = [number for number in map(finite, values) if number is not None]
        return numbers if len(numbers) == len(values) else None


@dataclass(frozen=True)
class Reading:
    """The runs that were found, and one line about each thing that could not be read as it should."""

    runs: list[Run]
    problems: list[str]


def read_runs(paths: Sequence[Path]) -> Reading:
    """Read every record at or below the given runs and sweeps, each once.

    Raises UserError if there is none in the only path; of several, the empty ones are named.
    """
    runs: dict[Path, Run] = {}
    problems: list[str] = []
    for path in paths:
        folders = record_folders(path)
        problems += [f"{folder}: left no record ({FILE_NAME})" for folder in folders_without_record(path)]
        problems += not_begun(path)
        if not folders and len(paths) > 1:
            problems.append(f"{path}: holds no record of a run")
        elif not folders:
            raise UserError(
                f"{path} holds no record of a run: no {FILE_NAME} in it or in its subfolders.\n"
                "Give a run's folder or a sweep's, such as outputs/sweeps/<sweep>."
            )
        for folder in folders:
            try:
                record = read_record(folder)
                run = as_run(record, folder)
            except (ValueError, TypeError, AttributeError, OSError) as error:
                problems.append(f"{folder}: skipped, its record can't be read: {one_line(error)}")
                continue
            runs[folder.resolve()] = run
            if isinstance(record["schema"], int) and record["schema"] > SCHEMA:
                problems.append(
                    f"{folder}: its record has schema {record['schema']}, this vaelab knows {SCHEMA}; "
                    "what it doesn't know is left out"
                )
    return Reading(list(runs.values()), list(dict.fromkeys(problems)))


def folders_without_record(path: Path) -> list[Path]:
    """Jobs of a sweep that were stopped before they could write a record."""
    return sorted(
        (
            folder.parent
            for folder in path.glob("*/.hydra")
            if not (folder.parent / FILE_NAME).is_file() and not (path / FILE_NAME).is_file()
        ),
        key=natural,
    )


def not_begun(path: Path, most: int = 8) -> list[str]:
    """A line that names the jobs of a sweep that have no folder yet; none if all have one."""
    if not (path / MULTIRUN).is_file():
        return []
    names = [job.name for job in sweep_jobs(path) if job.folder is None]
    if not names:
        return []
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return [f"{path}: not begun yet: {', '.join(names[:most])}{more}"]


def as_run(record: dict[str, Any], folder: Path) -> Run:
    """A record of any schema as a :class:`Run`."""
    swept, config = dict(record.get("swept") or {}), flatten(record.get("config") or {})
    metrics = dict(record.get("metrics") or {})
    beta = record.get("beta", swept.get("model.beta", config.get("model.beta")))
    setup = {"git": record.get("git"), **flatten({"versions": record.get("versions") or {}})}
    return Run(
        folder=folder,
        status=true_status(folder, record) or ("finished" if metrics else "unknown"),
        error=record.get("error") and str(record["error"]),
        name=str(record.get("name") or folder.name),
        variant=str(record.get("variant") or swept.get("model") or "unknown"),
        dataset=str(record.get("dataset") or swept.get("data") or "unknown"),
        seed=record.get("seed", swept.get("seed", config.get("seed"))),
        beta=finite(beta),
        started=str(record.get("started") or ""),
        swept=swept,
        config=config,
        setup={key: value for key, value in setup.items() if value is not None},
        metrics=metrics,
    )


def read_history(run: Run) -> dict[str, tuple[list[float], list[float]]]:
    """The run's training history: metric -> (epochs, values). Empty if the run kept none.

    The file has the columns step, epoch and one for each metric; a cell may be blank.
    """
    for name in HISTORY_FILES:
        try:
            with (run.folder / name).open(newline="", encoding="utf-8") as file:
                return _curves(csv.DictReader(file))
        except (OSError, ValueError, csv.Error):
            continue
    return {}


def _curves(rows: Iterable[dict[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        epoch = _parsed(row.get("epoch"))
        for name, text in row.items():
            value = _parsed(text)
            if epoch is not None and value is not None and name and "/" in name:
                epochs, values = curves.setdefault(name, ([], []))
                epochs.append(epoch + 1)  # counted from 1, as in "after 1 epoch"
                values.append(value)
    return curves


def _parsed(text: Any) -> float | None:
    try:
        return finite(float(text))
    except (TypeError, ValueError):
        return None


def one_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
