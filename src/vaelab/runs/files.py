"""Atomic writing: a file is complete or absent, whenever the process is killed. And what files there are."""

import errno
import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "FoundFile",
    "archive_damage",
    "cannot_write",
    "digest",
    "files_below",
    "folder_digest",
    "remove_temporary",
    "replacing",
]


LEAST_BYTES = 2**16  # free on a disk that is not full


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


def cannot_write(error: BaseException, folder: Path) -> str | None:
    """Why nothing can be written below ``folder`` any more; None if ``error`` has another reason.

    Libraries hide a full disk behind errors of their own, so the free space is looked at too.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    with suppress(OSError):
        if shutil.disk_usage(folder).free < LEAST_BYTES:
            return os.strerror(errno.ENOSPC)
    return None


def remove_temporary(folder: Path) -> None:
    """Remove the temporary files of killed processes below ``folder``; no other process may write there."""
    for file in Path(folder).glob("**/.tmp-*"):
        file.unlink(missing_ok=True)


def archive_damage(file: Path) -> str | None:
    """What is wrong with a zip archive such as a checkpoint of torch; None if all of it is whole.

    Its checksums are compared. ``torch.load`` does not do so, and would give wrong numbers.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            part = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        return str(error) or type(error).__name__
    return None if part is None else f"the checksum of {part} is wrong"


def digest(file: Path, most: int | None = None) -> str:
    """The SHA-256 of a file, in hexadecimal; with ``most``, of its size and its first ``most`` bytes."""
    with file.open("rb") as stream:
        if most is None:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        content = hashlib.sha256(str(file.stat().st_size).encode())
        content.update(stream.read(most))
        return content.hexdigest()


class FoundFile(NamedTuple):
    """A file in a folder."""

    name: str  # from the folder on, with slashes
    size: int  # bytes
    modified: int  # nanoseconds


def files_below(folder: Path) -> tuple[list[FoundFile], list[str]]:
    """The files below ``folder`` by name, and the names of links that are not followed.

    A link is followed to a file in the folder alone: a folder from a stranger gives no file from outside of
    it, and no endless path. Names that begin with a dot are left out.

    Raises:
        OSError: a folder cannot be read.
    """
    top = os.path.realpath(folder)
    files, links, folders = [], [], [("", top)]
    while folders:
        above, place = folders.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                name = above + entry.name
                if entry.name.startswith("."):
                    continue
                target = Path(os.path.realpath(entry.path)) if entry.is_symlink() else None
                if target is not None and not (target.is_relative_to(top) and target.is_file()):
                    links.append(name)
                elif entry.is_dir():
                    folders.append((f"{name}/", entry.path))
                elif entry.is_file():
                    status = entry.stat()
                    files.append(FoundFile(name, status.st_size, status.st_mtime_ns))
    return sorted(files), sorted(links)


def folder_digest(folder: Path) -> str:
    """The SHA-256 of the names and sizes of the files below ``folder``: equal for a copy in another place."""
    content = hashlib.sha256()
    for file in files_below(folder)[0]:
        content.update(os.fsencode(file.name) + b"\0%d\0" % file.size)
    return content.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
