"""The images that this process has read last: the jobs of a sweep train on the same ones."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vaelab.data.images import Source
from vaelab.data.splits import Splits

__all__ = ["forget", "kept"]

State = tuple[tuple[Path, tuple[int, ...] | None], ...]


class _Kept(NamedTuple):
    key: Any
    state: State  # of the files that were read
    splits: Splits


_last: _Kept | None = None


def kept(key: Any, read: Callable[[], Source], cut: Callable[[Source], Splits]) -> Splits:
    """``cut(read())``, or what that gave at the last call, if that call had an equal key and nothing changed.

    Nothing has changed if the source has named its files (``Source.files``) and each has the size, the time
    and the inode that it had. One set of images is kept, which is let go before another one is read, so that
    two are never in memory.

    Args:
        key: all that the splits depend on, beside the content of the files.
    """
    global _last  # of the process, as what it saves is another job's work
    if _last is not None and _last.key == key and _last.state == _state([file for file, _ in _last.state]):
        return _last.splits
    forget()
    source = read()
    state = None if source.files is None else _state(source.files)
    splits = cut(source)
    if state is not None:
        _last = _Kept(key, state, splits)
    return splits


def forget() -> None:
    """Let the images go."""
    global _last
    _last = None


def _state(files: Sequence[Path]) -> State:
    return tuple((file.absolute(), _identity(file)) for file in files)


def _identity(file: Path) -> tuple[int, ...] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
