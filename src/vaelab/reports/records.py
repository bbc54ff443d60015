"""Read the records of runs, of any schema and state. One that cannot be read is reported as a problem."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vaelab.errors import UserError, first_line
from vaelab.reports.per_image import PER_IMAGE, PerImage, read_per_image
from vaelab.runs.curve import point_folder, point_records
from vaelab.runs.find import record_folders
from vaelab.runs.health import Verdict, verdict
from vaelab.runs.record import FILE_NAME, HISTORY_FILES, SCHEMA, finite, flatten, is_rate, read_record
from vaelab.runs.status import sweep_jobs, true_status

__all__ = ["Reading", "RecordedRun", "as_run", "read_history", "read_runs"]

Curves = dict[str, tuple[list[float], list[float]]]
MOST_NAMES = 8


@dataclass(frozen=True)
class RecordedRun:
    """What a comparison reads of a run's record. What the record lacks is None or empty."""

    folder: Path
    status: str  # finished, running, interrupted, failed
    error: str | None
    name: str
    variant: str
    dataset: str
    seed: int | None
    beta: float | None  # the constant weight of the KL (runs.record.kl_weight); None if it has none
    started: str
    swept: dict[str, Any]
    config: dict[str, Any]  # flat: {"model.beta": 4, ...}
    setup: dict[str, Any]  # flat: git revision, package versions
    latent_dim: int | None = None  # of a map, all its numbers
    data_sha256: str | None = None  # the digest of the images; None in older records
    metrics: dict[str, Any] = field(default_factory=dict)
    images: PerImage | None = field(default=None, compare=False, repr=False)  # of the test; None if not kept

    @property
    def finished(self) -> bool:
        return self.status == "finished"

    def number(self, metric: str) -> float | None:
        """A scalar metric; None where it is missing, undefined or infinite."""
        return finite(self.metrics.get(metric))

    def verdict(self, split: str) -> Verdict | None:
        """Whether the posterior has collapsed, on the images of ``split``; None if no number tells."""
        return verdict(self.metrics, split) if self.finished else None

    @property
    def rate_weight(self) -> float | None:
        """beta, where the objective is distortion + beta * rate of the image itself and nothing else.

        Only there do the rate and the distortion of a split give the value of the objective on it.
        """
        prefix = "model.objective."
        parts = {
            key.removeprefix(prefix): value for key, value in self.config.items() if key.startswith(prefix)
        }
        terms = {key.partition(".")[0] for key, value in parts.items() if value is not None}
        classes = {
            "KL" if is_rate(parts, term) else str(parts.get(f"{term}._target_")).rpartition(".")[2]: term
            for term in terms
        }
        corrupted = any(v is not None for k, v in self.config.items() if k.startswith("model.corruption"))
        if corrupted or len(terms) != 2 or set(classes) != {"Distortion", "KL"}:
            return None
        of_distortion, of_rate = (
            finite(parts.get(f"{classes[name]}.weight", 1.0)) for name in ("Distortion", "KL")
        )
        return of_rate if of_distortion == 1 else None

    def vector(self, metric: str) -> list[float] | None:
        """A metric with one number per dimension; None where it or any of its numbers is missing."""
        values = self.metrics.get(metric)
        if not isinstance(values, list) or not values:
            return None
        numbers = [number for number in map(finite, values) if number is not None]
        return numbers if len(numbers) == len(values) else None


@dataclass(frozen=True)
class Reading:
    """The runs that were found, and a line about each thing that could not be read as it should."""

    runs: list[RecordedRun]
    problems: list[str]


def read_runs(paths: Sequence[Path]) -> Reading:
    """Read every record at or below the given runs and sweeps, each once.

    Raises:
        UserError: the only path holds no record; of several paths, the empty ones are named as problems.
    """
    runs: dict[Path, RecordedRun] = {}
    problems: list[str] = []
    for path in paths:
        problems += without_record(path)
        folders = record_folders(path)
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
                found = [as_run(record, folder)] if not record.get("curve") else points(record, folder)
            except (ValueError, TypeError, AttributeError, KeyError, OSError) as error:
                problems.append(f"{folder}: skipped, its record can't be read: {first_line(error)}")
                continue
            for run in found:
                try:
                    images = read_per_image(run.folder) if run.finished else None
                except ValueError as error:
                    images = None
                    problems.append(f"{run.folder}: {PER_IMAGE} is left out: {error}")
                runs[run.folder.resolve()] = replace(run, images=images)
            if isinstance(record["schema"], int) and record["schema"] > SCHEMA:
                problems.append(
                    f"{folder}: its record has schema {record['schema']}, newer than {SCHEMA}, "
                    "which this vaelab reads; unknown keys are ignored"
                )
    return Reading(list(runs.values()), list(dict.fromkeys(problems)))


def without_record(path: Path) -> list[str]:
    """A line for each job of a sweep that left no record, and one that names those that have not begun."""
    jobs = sweep_jobs(path) if path.is_dir() else []
    lost = [job.folder for job in jobs if job.folder and not (job.folder / FILE_NAME).is_file()]
    lines = [f"{folder}: left no record ({FILE_NAME})" for folder in lost]
    waiting = [job.name for job in jobs if job.folder is None]
    if waiting:
        more = f" and {len(waiting) - MOST_NAMES} more" if len(waiting) > MOST_NAMES else ""
        lines.append(f"{path}: not begun yet: {', '.join(waiting[:MOST_NAMES])}{more}")
    return lines


def points(record: dict[str, Any], folder: Path) -> list[RecordedRun]:
    """The curve of a multi-rate run as a run for each beta, in the folder that holds its pictures."""
    return [as_run(point, folder / point_folder(point["beta"])) for point in point_records(record)]


def as_run(record: dict[str, Any], folder: Path) -> RecordedRun:
    """A record of any schema as a :class:`RecordedRun`."""
    swept, config = dict(record.get("swept") or {}), flatten(record.get("config") or {})
    metrics = dict(record.get("metrics") or {})
    setup = {"git": record.get("git"), **flatten({"versions": record.get("versions") or {}})}
    return RecordedRun(
        folder=folder,
        status=true_status(folder, record) or ("finished" if metrics else "unknown"),
        error=record.get("error") and str(record["error"]),
        name=str(record.get("name") or folder.name),
        variant=str(record.get("variant") or swept.get("model") or "unknown"),
        dataset=str(record.get("dataset") or swept.get("data") or "unknown"),
        seed=record.get("seed", swept.get("seed", config.get("seed"))),
        beta=beta_of(record, config),
        started=str(record.get("started") or ""),
        swept=swept,
        config=config,
        setup={key: value for key, value in setup.items() if value is not None},
        latent_dim=record.get("latent_dim"),
        data_sha256=(record.get("data") or {}).get("sha256"),
        metrics=metrics,
    )


def beta_of(record: dict[str, Any], config: dict[str, Any]) -> float | None:
    """The record's beta. Older records have ``model.beta`` even where it is no term's weight: None then."""
    beta = finite(record.get("beta", config.get("model.beta")))
    objective = {key: value for key, value in config.items() if key.startswith("model.objective.")}
    weights = [finite(value) for key, value in objective.items() if key.endswith(".weight")]
    return beta if beta in weights or not objective else None


def read_history(run: RecordedRun, metrics: Sequence[str]) -> Curves:
    """Those of the metrics that the run's training history has -> (epochs, values); empty if it kept none.

    The file has the columns step, epoch and one for each metric; a cell may be blank.
    """
    for name in HISTORY_FILES:
        curves: Curves = {}
        try:
            with (run.folder / name).open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    for metric in metrics:
                        if row.get(metric) and (value := finite(float(row[metric]))) is not None:
                            epochs, values = curves.setdefault(metric, ([], []))
                            epochs.append(float(row["epoch"]) + 1)  # counted from 1, as in "after 1 epoch"
                            values.append(value)
        except (OSError, ValueError, TypeError, KeyError, csv.Error):
            pass  # what was read before a broken line is kept
        if curves:
            return curves
    return {}
