"""Atomic writing: a file is complete or absent, whenever the process is killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["remove_temporary", "replacing"]


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path``, to write to; it replaces ``path`` when the block ends.

    With ``durable`` the content is flushed to the disk first, so that a power failure leaves the old file or
    the new one. If the block raises, the old file stays. A killed process leaves the temporary file, which
    :func:`remove_temporary` removes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix stays last: matplotlib and PIL read the format from it
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        yield temporary
        if durable:
            _sync(temporary)
        os.replace(temporary, path)
        if durable:
            _sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_temporary(folder: Path) -> None:
    """Remove the temporary files of killed processes below ``folder``; no other process may write there."""
    for file in Path(folder).glob("**/.tmp-*"):
        file.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
