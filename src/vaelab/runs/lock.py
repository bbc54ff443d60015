"""The lock and the heartbeat of a run's folder: whether a process trains there, and its progress.

The training process holds the lock, and the operating system releases it when the process ends for whatever
reason. The process writes the heartbeat, ``heartbeat.json``, every few seconds. Other processes and machines
read the progress from it; after a kill, the resumed run reads the elapsed time from it.
"""

import fcntl
import json
import os
import socket
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vaelab.runs.files import replacing

__all__ = ["FILE_NAME", "LOCK_NAME", "LOST_SECONDS", "SECONDS", "beat", "claim", "is_alive", "read_beat"]

FILE_NAME = "heartbeat.json"
LOCK_NAME = ".lock"
SECONDS = 2.0  # between two heartbeats
LOST_SECONDS = 60.0  # a run on another machine whose heartbeat is older counts as dead


def beat(folder: Path, **progress: Any) -> None:
    """Write the heartbeat: ``progress`` (epoch, max_epochs, fit_seconds, ...), time, host and process."""
    content = {**progress, "time": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
    with replacing(Path(folder) / FILE_NAME, durable=False) as file:
        file.write_text(json.dumps(content) + "\n", encoding="utf-8")


def read_beat(folder: Path) -> dict[str, Any] | None:
    """The last heartbeat; None if it is missing or unreadable."""
    try:
        content = json.loads((Path(folder) / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def claim(folder: Path) -> AbstractContextManager[Any] | None:
    """Acquire the lock of ``folder`` and return it as a context manager; None if another process holds it."""
    lock = FileLock(Path(folder) / LOCK_NAME)
    try:  # is_alive in another process holds it for a moment
        return lock.acquire(timeout=1.0, poll_interval=0.02)
    except Timeout:
        return None


def is_alive(folder: Path) -> bool:
    """Whether a process trains in ``folder``: on this machine by the lock, on others by the heartbeat."""
    last = read_beat(folder)
    if last is not None and last.get("host") != socket.gethostname():
        written = last.get("time")
        if isinstance(written, int | float) and time.time() - written < LOST_SECONDS:
            return True  # otherwise check the lock: a process of this machine may have resumed the run
    try:
        with (Path(folder) / LOCK_NAME).open() as file:  # shared, so that two calls do not block each other
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
