"""One session of a run: its lock, its record, its heartbeat, and what happens to its errors. No torch."""

import logging
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

from vaelab.errors import INTERRUPTED, STOPS, UserError, reason
from vaelab.runs.files import remove_temporary
from vaelab.runs.launchers import is_out_of_time
from vaelab.runs.lock import FILE_NAME as BEAT
from vaelab.runs.lock import beat, claim, read_beat
from vaelab.runs.record import HISTORY_FILES, SCHEMA, write_record
from vaelab.runs.request import Observer, RunRequest, RunResult, StartingPoint
from vaelab.runs.resume import FINISHED, LAST, earlier_record, is_worth_keeping, next_step

__all__ = ["FolderInUse", "RunSession", "is_main_process"]

log = logging.getLogger(__name__)

# The checkpoint that the run goes on from, empty if it starts: for the processes that a distributed strategy
# starts later from the same command line.
CHECKPOINT_VARIABLE = "VAELAB_RESUME"

PACKAGES = (
    "vaelab", "torch", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "wandb", "numpy",
)  # fmt: skip


class FolderInUse(UserError):
    """Another process is training in the run's folder."""


class RunSession(Observer):
    """Holds the lock of a run's folder, and writes the run's record whatever happens inside the block.

    ::

        with RunSession(request) as session:
            session.describe(config)
            step = session.decide()
            if step != "skip":
                session.finish(fit(config, request, session.start, session))

    An error inside the block is written into the record and leaves the block. In a multirun an ordinary
    error is logged and stays inside, so that the other jobs run; Ctrl-C and SIGTERM leave it, and so does
    a refusal, after which the folder is as it was.

    In the processes that a distributed strategy starts beside the first one, a session writes nothing.

    Attributes:
        record: the run's record; after a skipped run, the record that was there.
        start: what the run starts from, once :meth:`decide` has been called.

    Raises:
        FolderInUse: on entering the block; the record of the other process stays.
    """

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.folder = request.folder
        self.record = new_record(request)
        self.start = StartingPoint()
        self._writes = is_main_process()
        self._earlier: dict[str, Any] | None = None
        self._keep_earlier = False  # the folder's record is worth more than this session's, for now
        self._clock = time.perf_counter()
        self._held = ExitStack()

    def __enter__(self) -> "RunSession":
        if self._writes:
            lock = claim(self.folder)
            if lock is None:
                raise FolderInUse(f"Another process is training in {self.folder}.")
            self._held.enter_context(lock)
            remove_temporary(self.folder)
            self._earlier = earlier_record(self.folder)
            self._keep_earlier = self._earlier is not None and is_worth_keeping(self.folder, self._earlier)
        return self

    def describe(self, config: Mapping[str, Any]) -> None:
        """Note the resolved config."""
        latent_dim = config["model"].get("latent_dim") if isinstance(config.get("model"), Mapping) else None
        self.record |= {"config": dict(config), "seed": config.get("seed"), "latent_dim": latent_dim}

    def decide(self) -> str:
        """What to do: ``start``, ``resume`` from the last checkpoint, or ``skip`` a run that is finished.

        The folder is prepared for it.

        Raises:
            UserError: the folder holds a run with another config.
        """
        label = self.request.name if self.request.alone else f"{self.folder.name}: {self.request.name}"
        if not self._writes:
            checkpoint = os.environ.get(CHECKPOINT_VARIABLE)
            self.start = StartingPoint(Path(checkpoint) if checkpoint else None)
            return "resume" if checkpoint else "start"
        step = next_step(self.folder, self.record, self._earlier)
        if step == "skip":
            assert self._earlier is not None
            self.record = self._earlier
            log.info("%s: finished before, skipped", label)
            return step
        self._keep_earlier = False
        log.info("%s%s", label, ": goes on from its last checkpoint" if step == "resume" else "")
        self._take_over(step)
        self._save()
        self.progress(**{"epoch": 0, "step": 0, **self.start.progress})
        return step

    def note(self, **facts: Any) -> None:
        """Add facts to the record and write it."""
        self.record |= facts
        self._save()

    def progress(self, **values: Any) -> None:
        """Write the heartbeat."""
        if self._writes:
            beat(self.folder, **{**values, "total_seconds": self._seconds()})

    def finish(self, result: RunResult) -> None:
        """Take the result into the record, which is written when the block ends."""
        self.record |= {**vars(result), "timing": dict(result.timing), "status": FINISHED}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        with self._held:
            if self._keep_earlier:  # skipped, or refused
                if error is not None and not self.request.alone:
                    log.error("%s: %s", self.folder.name, reason(error))
                return False
            stays = error is not None and self._note_error(error)
            self.record["timing"]["total_seconds"] = round(self._seconds(), 3)
            self.record["finished"] = _now()
            self.record["sessions"][-1] |= {"ended": _now(), "status": self.record["status"]}
            self._save()
            if self._writes and self.record["status"] == FINISHED:
                (self.folder / BEAT).unlink(missing_ok=True)
        return stays

    def _note_error(self, error: BaseException) -> bool:
        """Say in the record what ended the run; whether the error stays inside of the block."""
        if not isinstance(error, Exception):  # Ctrl-C, or SIGTERM
            code = error.code if isinstance(error, SystemExit) else INTERRUPTED
            stop = STOPS.get(code, type(error).__name__)
            self.record |= {"status": "interrupted", "error": f"stopped ({stop})"}
            return False
        late = is_out_of_time(error)
        expected = late or isinstance(error, UserError)
        text = reason(error) if expected else f"{type(error).__name__}: {reason(error)}"
        self.record |= {"status": "interrupted" if late else "failed", "error": text}
        if self.request.alone:
            return False
        log.error("%s: %s", self.folder.name, text, exc_info=None if expected else error)
        return True

    def _take_over(self, step: str) -> None:
        """Take up what an earlier session left in the folder, or remove it."""
        earlier, record = self._earlier, self.record
        resumes = step == "resume"
        wandb = None
        record["sessions"][-1]["from"] = "checkpoint" if resumes else "start"
        if earlier is not None:
            record["sessions"] = [*earlier.get("sessions", []), *record["sessions"]]
            if earlier["status"] != "failed":
                wandb = record["wandb"] = earlier.get("wandb")  # the same W&B run
            if resumes:
                record["started"] = earlier["started"]
            else:
                shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
                for name in (BEAT, *HISTORY_FILES):
                    (self.folder / name).unlink(missing_ok=True)
        self.start = StartingPoint(
            checkpoint=(self.folder / LAST).absolute() if resumes else None,
            progress=(read_beat(self.folder) or {}) if resumes else {},
            wandb_id=(wandb or {}).get("id"),
        )
        os.environ[CHECKPOINT_VARIABLE] = str(self.start.checkpoint or "")

    def _save(self) -> None:
        if self._writes:
            write_record(self.folder, self.record)

    def _seconds(self) -> float:
        """Seconds of all sessions of the run up to now."""
        before = float(self.start.progress.get("total_seconds", 0))
        return before + time.perf_counter() - self._clock


def new_record(request: RunRequest) -> dict[str, Any]:
    """What is known of a run before its config is; every key that a record has."""
    now = _now()
    return {
        "schema": SCHEMA,
        "status": "running",
        "error": None,
        "name": request.name,
        "group": request.group,
        "variant": request.variant,
        "dataset": request.dataset,
        "seed": None,
        "beta": request.beta,
        "latent_dim": None,
        "swept": dict(request.swept),
        "overrides": list(request.overrides),
        "started": now,
        "finished": None,
        "sessions": [{"started": now, "ended": None, "status": "running", "from": "start"}],
        "git": git_revision(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "wandb": None,
        "weights": None,
        "data": None,
        "parameters": None,
        "timing": {},
        "metrics": {},
        "verdict": None,
        "config": None,
    }


def is_main_process() -> bool:
    """False in the processes that a distributed strategy starts beside the first one."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def git_revision() -> str | None:
    """The commit checked out where the command runs, with ``-dirty`` if files differ; None outside of git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
