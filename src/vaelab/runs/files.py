"""Files that are there whole or not at all, whenever the process is killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """A path beside ``path`` to write to; what was written takes the place of ``path`` when the block ends.

    With ``durable`` it is on the disk before that, so that a machine that loses its power has the old file or
    the new one. An exception leaves the old file. A killed process leaves the temporary one:
    :func:`remove_temporary`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the name's own suffix stays last: matplotlib and PIL read the format from it
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
    """Remove what killed processes left unfinished below ``folder``; only for who alone writes there."""
    for file in Path(folder).glob("**/.tmp-*"):
        file.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
