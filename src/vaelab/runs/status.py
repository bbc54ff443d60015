"""The jobs of a sweep and their states, read from records, heartbeats and locks."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelab.runs import record as results
from vaelab.runs.find import natural
from vaelab.runs.lock import is_alive, read_beat
from vaelab.runs.naming import MULTIRUN, planned_jobs

__all__ = [
    "LOG",
    "STATES",
    "Job",
    "Progress",
    "counts",
    "duration",
    "read_progress",
    "remaining",
    "sweep_jobs",
    "true_status",
]

STATES = ("finished", "running", "interrupted", "failed", "unreadable", "waiting")
LOG = "run.log"


@dataclass(frozen=True)
class Progress:
    """The progress of a training by its last heartbeat; None for what is unknown or unlimited."""

    epoch: int  # completed epochs
    max_epochs: int | None
    age: float | None  # seconds since the heartbeat
    left: float | None  # remaining seconds of training at the speed so far
    phase: str | None = None  # what the run does: starting, training, measuring, testing, pictures

    @property
    def share(self) -> float | None:
        """The completed share of the epochs, between 0 and 1."""
        return min(1.0, self.epoch / self.max_epochs) if self.max_epochs else None


@dataclass(frozen=True)
class Job:
    """One job of a sweep, or a single run."""

    name: str  # the present or future name of the folder
    state: str  # one of STATES
    folder: Path | None = None
    progress: Progress | None = None
    seconds: float | None = None  # the duration of a finished run
    error: str | None = None  # why the run failed, or why its record is unreadable
    swept: bool = True  # whether it is part of a sweep, which the same command continues


def true_status(folder: Path, record: dict[str, Any]) -> str:
    """The record's status; ``interrupted`` if it is ``running`` and no process trains in the folder."""
    status = str(record.get("status") or "")
    return "interrupted" if status == "running" and not is_alive(folder) else status


def sweep_jobs(folder: Path) -> list[Job]:
    """All jobs of a sweep in the order of their numbers, including those without a folder yet.

    For the folder of a run, that run only.
    """
    if is_run(folder):
        return [read_job(folder, swept=(folder.parent / MULTIRUN).is_file())]
    begun = [path for path in folder.iterdir() if path.is_dir() and is_run(path)]
    names = {re.sub(r"^\d+-?", "", path.name) for path in begun}
    waiting = [
        f"{n:02d}-{name}".rstrip("-") for n, name in enumerate(planned_jobs(folder)) if name not in names
    ]
    jobs = [*map(read_job, begun), *(Job(name, "waiting") for name in waiting)]
    return sorted(jobs, key=lambda job: natural(job.name))


def is_run(folder: Path) -> bool:
    """Whether the folder contains a record, or Hydra's files of a run."""
    return (folder / results.FILE_NAME).is_file() or (folder / ".hydra").is_dir()


def read_job(folder: Path, swept: bool = True) -> Job:
    """The state of the run in ``folder``."""
    try:
        record = results.read_record(folder)
        if record.get("status") == "running" and not is_alive(folder):
            record = results.read_record(folder)  # the run may have ended between the two calls
    except FileNotFoundError:  # the run is starting, or stopped before its first record
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
    """The progress by the heartbeat in ``folder``; None if there is none."""
    last = read_beat(folder)
    if last is None:
        return None
    numbers = (results.finite(last.get(name)) for name in ("epoch", "max_epochs", "time", "fit_seconds"))
    epoch, most, written, seconds = numbers
    age = None if written is None else max(0.0, (time.time() if now is None else now) - written)
    phase = last.get("phase")
    left = None
    if epoch and most and most > 0 and seconds and phase in (None, "training"):
        left = max(0.0, seconds / epoch * (most - epoch))
    return Progress(
        int(epoch or 0),
        int(most) if most and most > 0 else None,
        age,
        left,
        phase if isinstance(phase, str) else None,
    )


def counts(jobs: Sequence[Job]) -> dict[str, int]:
    """The number of jobs in each state that occurs, in the order of STATES."""
    numbers = Counter(job.state for job in jobs)
    return {state: numbers[state] for state in STATES if state in numbers}


def remaining(jobs: Sequence[Job]) -> float | None:
    """Seconds until no job runs or waits, if as many run side by side as now.

    A job that waits takes as long as the finished ones on the average. None if that is unknown: none has
    finished, or none of those that run has had an epoch.
    """
    known = [job.seconds for job in jobs if job.state == "finished" and job.seconds is not None]
    typical = sum(known) / len(known) if known else None
    running = [job.progress for job in jobs if job.state == "running"]
    waiting = sum(job.state in ("waiting", "interrupted") for job in jobs)
    left = [typical if p is None or p.left is None else p.left for p in running] + [typical] * waiting
    seconds = [value for value in left if value is not None]
    if len(seconds) < len(left):
        return None
    return max([0.0, sum(seconds) / max(1, len(running)), *seconds])


def duration(value: float) -> str:
    """Seconds as text.

    >>> duration(8), duration(200), duration(7500)
    ('8 s', '3 min', '2 h 05 min')
    """
    if value < 99.5:
        return f"{value:.0f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
