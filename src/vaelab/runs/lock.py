"""Who is training in a run's folder, and how far it is: a lock and a heartbeat. Light.

The lock is held by the process that trains; the system takes it back when the process ends, however it ends.
The heartbeat, ``heartbeat.json``, is written every few seconds, and tells other processes and machines how
far the run is; after a kill it says how much time the run had taken.
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

FILE_NAME = "heartbeat.json"
LOCK_NAME = ".lock"
SECONDS = 2.0  # between two beats
LOST_SECONDS = 60.0  # a run of another machine that has not beaten for so long is taken for dead


def beat(folder: Path, **progress: Any) -> None:
    """Write the heartbeat: ``progress`` (epoch, max_epochs, step, seconds ...), the time and the process."""
    content = {**progress, "time": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
    with replacing(Path(folder) / FILE_NAME, durable=False) as file:
        file.write_text(json.dumps(content) + "\n", encoding="utf-8")


def read_beat(folder: Path) -> dict[str, Any] | None:
    """The last heartbeat; None if there is none or it can't be read."""
    try:
        content = json.loads((Path(folder) / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def claim(folder: Path) -> AbstractContextManager[Any] | None:
    """Take the lock of ``folder``, to be held as a context; None if another process has it."""
    lock = FileLock(Path(folder) / LOCK_NAME)
    try:  # who only looks holds it for an instant
        return lock.acquire(timeout=1.0, poll_interval=0.02)
    except Timeout:
        return None


def is_alive(folder: Path) -> bool:
    """Whether a process trains in ``folder`` now: here as the lock says, elsewhere as the heartbeat does."""
    last = read_beat(folder)
    if last is not None and last.get("host") != socket.gethostname():
        beaten = last.get("time")
        if isinstance(beaten, int | float) and time.time() - beaten < LOST_SECONDS:
            return True  # else a process of this machine may have taken the folder over
    try:
        with (Path(folder) / LOCK_NAME).open() as file:  # shared: those who look don't see each other
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
