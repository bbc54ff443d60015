"""The jobs of a sweep and the state of each: records, heartbeats and locks say it, nothing is written."""

import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf.errors import OmegaConfBaseException

from vaelab.runs import record as results
from vaelab.runs.lock import is_alive, read_beat
from vaelab.runs.naming import MULTIRUN, planned_jobs

STATES = ("finished", "running", "interrupted", "failed", "unreadable", "waiting")
LOG = "run.log"


@dataclass(frozen=True)
class Progress:
    """How far a training is, as its last heartbeat says; None for what is not known or has no end."""

    epoch: int  # epochs completed
    max_epochs: int | None
    age: float | None  # seconds since the heartbeat
    left: float | None  # seconds of training to come, at the speed so far

    @property
    def share(self) -> float | None:
        """Between 0 and 1."""
        return min(1.0, self.epoch / self.max_epochs) if self.max_epochs else None


@dataclass(frozen=True)
class Job:
    """One job of a sweep, or a run of its own."""

    name: str  # the folder's name, or the swept one's while there is no folder
    state: str  # one of STATES
    folder: Path | None = None
    progress: Progress | None = None
    seconds: float | None = None  # that a finished run took
    error: str | None = None  # why it failed, or why its record can't be read
    swept: bool = True  # part of a sweep, which the same command takes up again


def true_status(folder: Path, record: dict[str, Any]) -> str:
    """The record's status; ``interrupted`` for a record that says ``running`` while nobody trains there."""
    status = str(record.get("status") or "")
    return "interrupted" if status == "running" and not is_alive(folder) else status


def sweep_jobs(folder: Path) -> list[Job]:
    """Every job of a sweep: those that have a folder, and those that wait for one, in the order of numbers.

    Of a run's own folder, that run alone.
    """
    if is_run(folder):
        return [read_job(folder, swept=(folder.parent / MULTIRUN).is_file())]
    there = [path for path in folder.iterdir() if path.is_dir() and is_run(path)]
    plan = planned(folder)
    taken = {re.sub(r"^\d+-?", "", path.name) for path in there}
    waiting = ["-".join(filter(None, [f"{n:02d}", name])) for n, name in enumerate(plan) if name not in taken]
    jobs = [*map(read_job, there), *(Job(name, "waiting") for name in waiting)]
    return sorted(jobs, key=lambda job: _number(job.name))


def planned(folder: Path) -> list[str]:
    """The swept names that the sweep's last command asked for; none if that can't be told."""
    try:
        return planned_jobs(folder / MULTIRUN)
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException, AttributeError):
        return []  # another sweeper's, another Hydra's, or not a sweep of Hydra's: what is there is shown


def unfinished_jobs(folder: Path, records: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names of a sweep's jobs that have not finished, given the records of :func:`find.sweep_records`."""
    finished = {record["folder"].name for record in records if record["status"] == "finished"}
    unfinished = {record["folder"].name for record in records} - finished
    done = {name.partition("-")[2] for name in finished}
    return unfinished | {name for name in planned(folder) if name and name not in done}


def is_run(folder: Path) -> bool:
    """Whether the folder is a run's: it has a record, or Hydra has begun it."""
    return (folder / results.FILE_NAME).is_file() or (folder / ".hydra").is_dir()


def read_job(folder: Path, swept: bool = True) -> Job:
    """The state of the run in ``folder``."""
    try:
        record = results.read_record(folder)
        if record.get("status") == "running" and not is_alive(folder):
            record = results.read_record(folder)  # it may have ended between the two looks
    except FileNotFoundError:  # it has only just begun, or it was stopped that early
        state = "running" if is_alive(folder) else "waiting"
        return Job(folder.name, state, folder, progress=read_progress(folder), swept=swept)
    except (OSError, ValueError) as error:
        return Job(folder.name, "unreadable", folder, error=f"{type(error).__name__}: {error}")
    state = true_status(folder, record)
    if state not in STATES:
        return Job(folder.name, "unreadable", folder, error=f"its record has the status {state!r}")
    timing = record.get("timing")
    return Job(
        folder.name,
        state,
        folder,
        progress=read_progress(folder) if state in ("running", "interrupted") else None,
        seconds=results.finite(timing.get("total_seconds")) if isinstance(timing, dict) else None,
        error=str(record["error"]) if record.get("error") else None,
        swept=swept,
    )


def read_progress(folder: Path, now: float | None = None) -> Progress | None:
    """What the heartbeat in ``folder`` says; None if there is none."""
    last = read_beat(folder)
    if last is None:
        return None
    known = {name: results.finite(last.get(name)) for name in ("epoch", "max_epochs", "time", "fit_seconds")}
    epoch, most, beat, seconds = known.values()
    age = None if beat is None else max(0.0, (time.time() if now is None else now) - beat)
    left = None
    if epoch and most and most > 0 and seconds:
        left = max(0.0, seconds / epoch * (most - epoch))
    return Progress(int(epoch or 0), int(most) if most and most > 0 else None, age, left)


def counts(jobs: Sequence[Job]) -> dict[str, int]:
    """How many jobs are in each state that any is in."""
    numbers = {state: sum(job.state == state for job in jobs) for state in STATES}
    return {state: number for state, number in numbers.items() if number}


def _number(name: str) -> tuple[float, str]:
    """``03-beta4`` after ``2-beta1``; what has no number comes last."""
    number = re.match(r"\d+", name)
    return (int(number[0]) if number else math.inf, name)
