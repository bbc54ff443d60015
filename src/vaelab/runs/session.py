"""One session of a run: its lock, its record, its heartbeat and the handling of its errors. No torch."""

import logging
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

from vaelab.errors import INTERRUPTED, STOPS, DiskFull, Refusal, UserError, reason
from vaelab.runs.files import cannot_write, digest, folder_digest, remove_temporary
from vaelab.runs.launchers import is_out_of_time
from vaelab.runs.lock import FILE_NAME as BEAT
from vaelab.runs.lock import LOCK_NAME, beat, claim, read_beat
from vaelab.runs.record import FILE_NAME, HISTORY_FILES, SCHEMA, write_record
from vaelab.runs.request import Observer, RunRequest, RunResult, StartingPoint
from vaelab.runs.resume import (
    EPOCHS,
    FINISHED,
    LAST,
    earlier_record,
    extension,
    is_worth_keeping,
    next_step,
)
from vaelab.runs.status import duration

__all__ = ["FolderInUse", "RunSession", "is_main_process"]

log = logging.getLogger(__name__)

# The checkpoint from which the run resumes, empty for a fresh start. The further processes of a distributed
# strategy, which start from the same command line, read it.
CHECKPOINT_VARIABLE = "VAELAB_RESUME"

MOST_BYTES = 2**28  # of the user's data file, to tell whether it is another one
LOG = "run.log"  # conf/hydra/job_logging/vaelab.yaml

PACKAGES = (
    "vaelab", "torch", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "wandb", "numpy",
)  # fmt: skip


class FolderInUse(UserError):
    """Another process holds the lock of the run's folder."""


class RunSession(Observer):
    """Holds the lock of a run's folder, and writes the run's record however the block ends.

    ::

        with RunSession(request) as session:
            session.describe(config)
            step = session.decide()
            if step != "skip":
                session.finish(fit(config, request, session.start, session))

    The session writes an error inside the block into the record, and the error propagates. In a multirun it
    logs and suppresses the error, so that the other jobs run, except for Ctrl-C, SIGTERM and a refusal to
    overwrite an earlier run, which leaves the folder unchanged.

    A single run that is refused by a UserError before it has data leaves no folder behind, unless the folder
    contains anything else; one that was to resume stays as it was, so that it can still be resumed.

    In the further processes of a distributed strategy, the session writes nothing.

    Attributes:
        record: the run's record; for a skipped run, the earlier record.
        start: the starting point, set by :meth:`decide`.

    Raises:
        FolderInUse: on entering the block, if another process holds the lock.
    """

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.folder = request.folder
        self.record = new_record(request)
        self.start = StartingPoint()
        self._writes = is_main_process()
        self._earlier: dict[str, Any] | None = None
        self._keep_earlier = False  # True while the earlier record must not be overwritten
        self._clock = time.perf_counter()
        self._lock = ExitStack()

    def __enter__(self) -> "RunSession":
        if self._writes:
            lock = claim(self.folder)
            if lock is None:
                raise FolderInUse(f"Another process is training in {self.folder}.")
            self._lock.enter_context(lock)
            remove_temporary(self.folder)
            self._earlier = earlier_record(self.folder)
            self._keep_earlier = self._earlier is not None and is_worth_keeping(self.folder, self._earlier)
        return self

    def describe(self, config: Mapping[str, Any]) -> None:
        """Add the resolved config to the record."""
        latent_dim = config["model"].get("latent_dim") if isinstance(config.get("model"), Mapping) else None
        self.record |= {"config": dict(config), "seed": config.get("seed"), "latent_dim": latent_dim}
        data = config.get("data")
        path = data.get("path") if isinstance(data, Mapping) else None
        if isinstance(path, str):
            self.record["data_file"] = digest_of_data(Path(path).expanduser())

    def decide(self) -> str:
        """Decide to ``start``, to ``resume`` from the last checkpoint, or to ``skip`` a finished run.

        This also prepares the folder.

        Raises:
            UserError: the folder contains a run with another config.
        """
        label = self.request.name if self.request.alone else f"{self.folder.name}: {self.request.name}"
        if not self._writes:
            checkpoint = os.environ.get(CHECKPOINT_VARIABLE)
            self.start = StartingPoint(Path(checkpoint) if checkpoint else None)
            return "resume" if checkpoint else "start"
        step = next_step(self.folder, self.record, self._earlier, self.request.alone)
        if step == "skip":
            assert self._earlier is not None
            self.record = self._earlier
            log.info("%s: already finished, skipped", label)
            return step
        self._keep_earlier = False
        left = self.request.sweep_left
        log.info(
            "%s%s%s",
            label,
            ": resumes from its last checkpoint" if step == "resume" else "",
            f" (the other jobs: about {duration(left)})" if left else "",
        )
        self._take_over(step)
        self._save()
        self.progress(**{"epoch": 0, "step": 0, **self.start.progress, "phase": "starting"})
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
        """Add the result to the record, which is written when the block ends."""
        self.record |= {
            **vars(result),
            "timing": dict(result.timing),
            "status": FINISHED,
            "weights_sha256": digest(self.folder / result.weights) if self._writes else None,
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        with self._lock:
            if self._keep_earlier:  # skipped, or refused
                if error is not None and not self.request.alone:
                    log.error("%s: %s", self.folder.name, reason(error))
                return False
            if self._is_refused(error):
                self._put_back()
                return False
            full = error and isinstance(error, Exception) and cannot_write(error, self.folder)
            if full:
                self._stop_writing(full)
            suppressed = error is not None and self._record_error(error)
            self.record["timing"]["total_seconds"] = round(self._seconds(), 3)
            self.record["finished"] = _now()
            self.record["sessions"][-1] |= {"ended": _now(), "status": self.record["status"]}
            self._save()
            if self._writes and self.record["status"] == FINISHED:
                (self.folder / BEAT).unlink(missing_ok=True)
        return suppressed

    def _stop_writing(self, why: str) -> None:
        """Record the run as interrupted if that can be written, and raise DiskFull."""
        self.record |= {"status": "interrupted", "error": f"stopped ({why})"}
        with suppress(OSError):
            remove_temporary(self.folder)
            self._save()
        again = "" if self.request.alone else " Then the same command continues the sweep."
        raise DiskFull(f"Can't write to {self.folder}: {why}.{again}") from None

    def _is_refused(self, error: BaseException | None) -> bool:
        """Whether a single run, new or resumed, was refused before its first step; the message says all."""
        begun = self.record["data"] is not None and not isinstance(error, Refusal)
        untouched = self._earlier is None or self.start.checkpoint is not None
        alone = self._writes and self.request.alone
        return alone and untouched and not begun and isinstance(error, UserError)

    def _put_back(self) -> None:
        """Leave the folder as it was: without a new run, or with the record of the one that was to resume."""
        if self._earlier is None:
            discard(self.folder)
            return
        self.record = self._earlier
        self._save()
        if self.record["status"] == FINISHED:
            (self.folder / BEAT).unlink(missing_ok=True)

    def _record_error(self, error: BaseException) -> bool:
        """Write into the record what ended the run; return whether to suppress the error."""
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
        file = self.folder / LOG
        where = f" (its traceback is in {file})" if not expected and file.is_file() else ""
        log.error("%s: %s%s", self.folder.name, text, where, exc_info=None if expected else error)
        return True

    def _take_over(self, step: str) -> None:
        """Continue the files of an earlier session in the folder, or remove them."""
        earlier, record = self._earlier, self.record
        resumes = step == "resume"
        wandb = None
        record["sessions"][-1]["from"] = "checkpoint" if resumes else "start"
        if earlier is not None:
            longer = extension(earlier.get("config") or {}, record["config"]) if resumes else None
            if longer is not None:
                record["sessions"][-1]["extended"] = {EPOCHS: list(longer)}
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
            progress=(read_beat(self.folder) or _progress_of(earlier)) if resumes else {},
            wandb_id=(wandb or {}).get("id"),
            data_sha256=((earlier or {}).get("data") or {}).get("sha256") if resumes else None,
        )
        os.environ[CHECKPOINT_VARIABLE] = str(self.start.checkpoint or "")

    def _save(self) -> None:
        if self._writes:
            write_record(self.folder, self.record)

    def _seconds(self) -> float:
        """Seconds of all sessions of the run so far."""
        before = float(self.start.progress.get("total_seconds", 0))
        return before + time.perf_counter() - self._clock


def _progress_of(finished: Mapping[str, Any] | None) -> dict[str, float]:
    """The seconds and images of a finished run, which has no heartbeat, for a session that extends it."""
    timing = {name: value for name, value in ((finished or {}).get("timing") or {}).items() if value}
    images = round(timing.pop("images_per_second", 0) * timing.get("train_seconds", 0))
    return {**timing, "images": images}


def discard(folder: Path) -> None:
    """Remove what a run leaves in its folder before it begins, and the folder if nothing else is in it."""
    for name in (FILE_NAME, BEAT, LOCK_NAME, LOG):
        (folder / name).unlink(missing_ok=True)
    for name in ("config", "hydra", "overrides"):  # of Hydra
        (folder / ".hydra" / f"{name}.yaml").unlink(missing_ok=True)
    for empty in (folder / ".hydra", folder):
        with suppress(OSError):
            empty.rmdir()


def new_record(request: RunRequest) -> dict[str, Any]:
    """A record with every key, and the values that are known before the config is read."""
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
        "latent_shape": None,
        "swept": dict(request.swept),
        "overrides": list(request.overrides),
        "directory": os.getcwd(),  # from which relative paths of the config start
        "started": now,
        "finished": None,
        "sessions": [{"started": now, "ended": None, "status": "running", "from": "start"}],
        "git": git_revision(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "wandb": None,
        "weights": None,
        "weights_choice": None,
        "weights_sha256": None,
        "data": None,
        "data_file": None,
        "parameters": None,
        "timing": {},
        "metrics": {},
        "curve": None,
        "stopped": None,
        "per_image": None,
        "verdict": None,
        "config": None,
    }


def digest_of_data(path: Path) -> str | None:
    """A digest of the user's file or folder; None if there is none that can be read: its loader says why."""
    with suppress(OSError):
        if path.is_dir():
            return folder_digest(path)
        if path.is_file():
            return digest(path, MOST_BYTES)
    return None


def is_main_process() -> bool:
    """False in the further processes of a distributed strategy."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def git_revision() -> str | None:
    """The commit in the working directory, with ``-dirty`` if files differ; None outside of git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
