"""What a sweep's command says while its jobs run in other processes, side by side."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vaelab.runs.status import Job, counts, duration, remaining, sweep_jobs

__all__ = ["Watch"]

FIRST, LONGEST = 10.0, 300.0  # seconds between two lines while no job ends; they grow as in a run's own lines
POLL = 1.0  # seconds between two looks
SHARE = 0.05  # of the time, at most, is spent on looking

MOST_NAMES = 4  # of more jobs that run, only the number is said
ENDED = ("finished", "failed", "unreadable")


class Watch:
    """Prints a line when a job of the sweep ends, and at growing intervals how far the sweep is.

    Args:
        folder: the sweep's folder.
        say: prints a line.
    """

    def __init__(self, folder: Path, say: Callable[[str], object] | None = None) -> None:
        self.folder = folder
        self.say = say or (lambda line: print(line, flush=True))
        self._ended = {job.name for job in self._jobs() if job.state in ENDED}
        self._began = self._said = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, after a last look."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Read the jobs' states, and print what is new."""
        jobs = self._jobs()
        for job in jobs:
            if job.state in ENDED and job.name not in self._ended:
                self._ended.add(job.name)
                took = "" if job.seconds is None else f" in {duration(job.seconds)}"
                self._print(f"{job.name} {job.state}{took}. {sentence(jobs)}")
        now = time.monotonic()
        if now - self._said >= min(LONGEST, max(FIRST, (self._said - self._began) / 2)):
            self._print(sentence(jobs))

    def _print(self, line: str) -> None:
        self._said = time.monotonic()
        self.say(line)

    def _jobs(self) -> list[Job]:
        return sweep_jobs(self.folder) if self.folder.is_dir() else []

    def _run(self) -> None:
        wait = POLL
        while True:
            stopped = self._stop.wait(wait)
            begun = time.monotonic()
            try:
                self.look()
            except (OSError, ValueError):  # the terminal is closed, or the folder is gone
                return
            if stopped:
                return
            wait = max(POLL, (time.monotonic() - begun) / SHARE)


def sentence(jobs: Sequence[Job]) -> str:
    """``3 of 6 jobs finished, 2 running (03-beta1 epoch 12/40, 04-beta2 testing); about 20 s left.``"""
    found = counts(jobs)
    finished = found.pop("finished", 0)
    running = [f"{job.name} {doing(job)}" for job in jobs if job.state == "running"]
    names = f" ({', '.join(running)})" if len(running) <= MOST_NAMES else ""
    others = [f"{number} {state}{names if state == 'running' else ''}" for state, number in found.items()]
    text = ", ".join([f"{finished} of {len(jobs)} jobs finished", *others])
    left = remaining(jobs) if "running" in found else None
    return f"{text}; about {duration(left)} left." if left else f"{text}."


def doing(job: Job) -> str:
    """``epoch 12/40``, or the phase of a run that does not train."""
    progress = job.progress
    if progress is None or progress.phase != "training":
        return (progress and progress.phase) or "starting"
    return f"epoch {progress.epoch}" + (f"/{progress.max_epochs}" if progress.max_epochs else "")
