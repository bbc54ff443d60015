"""Download of data files from the first mirror that works, with checksums."""

import hashlib
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vaelab.errors import UserError

__all__ = ["Published", "fetch", "find_or_fetch", "git_blob_id"]

TIMEOUT = 30  # seconds without an answer before the next mirror is tried


class Published(NamedTuple):
    """A data set that is published as one or several files."""

    folder: str  # of its files under a root that other data sets share
    checksums: dict[str, str]  # of the published files, by their names: "md5:...", or "git:..." of a Git blob
    mirrors: tuple[str, ...]  # addresses that end in a slash, tried in order
    advice: str  # where people find the files


def find_or_fetch(data: Published, root: str, download: bool, path: str | None = None) -> list[Path]:
    """The files of ``data``, in the order of ``data.checksums``.

    Each is looked for in ``root/<folder>`` and then in ``root``; a .gz file may be unpacked. What is missing
    is downloaded into ``root/<folder>``: not into ``root``, where files of other data sets may have the same
    names. Only downloads are compared with the checksum.

    Args:
        path: the file itself, of a data set that has one.

    Raises:
        UserError: files are missing (all of them are named) and cannot be downloaded; it says what to do.
    """
    if path is not None:
        given = Path(path).expanduser()
        if not given.is_file():
            raise UserError(
                f"data.path={given} is not a file. It must be {next(iter(data.checksums))}. {data.advice}"
            )
        return [given]
    top = Path(root).expanduser()
    places = (top / data.folder, top)
    missing = {name: known for name, known in data.checksums.items() if _find(name, places) is None}
    key = "data.path=..." if len(data.checksums) == 1 else "data.root=..."
    by_hand = f"By hand: put {', '.join(data.checksums)} into {places[0]}, or set {key}. {data.advice}"
    if missing and not download:
        raise UserError(f"No {', '.join(missing)} in {places[0]} or {top}.\n{by_hand}")
    try:
        fetch(missing, data.mirrors, places[0])
    except UserError as error:
        raise UserError(f"{error}\n{by_hand}") from None
    return [file for name in data.checksums if (file := _find(name, places)) is not None]


def _find(name: str, places: Sequence[Path]) -> Path | None:
    candidates = (place / file for place in places for file in (name.removesuffix(".gz"), name))
    return next((path for path in candidates if path.is_file()), None)


def fetch(checksums: Mapping[str, str], mirrors: Sequence[str], folder: Path) -> None:
    """Download the files named by ``checksums`` (name: checksum) into ``folder``; mirrors are tried in order.

    A file is written under another name and renamed once its checksum is right, so that ``folder`` never has
    a partial or a wrong one.

    Raises:
        UserError: no mirror has a file, with the reason of each mirror. The files after it are not tried,
            since without a network each would need its time to fail.
    """
    if not checksums:
        return
    import pooch

    # pooch reports each step; the progress bar here and the error below are enough
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made for the download: {error.strerror}. Set data.root."
        ) from None
    for name, checksum in checksums.items():
        known, take = _checking(checksum, downloader)
        reasons = []
        for mirror in mirrors:
            try:
                pooch.retrieve(mirror + name, known, name, folder, downloader=take)
                break
            except (OSError, ValueError) as error:  # requests' errors are OSErrors
                reasons.append(f"{mirror} {_reason(error)}")
        else:
            missing = [other for other in checksums if not (folder / other).exists()]
            raise UserError(
                f"Could not download {name}: {'; '.join(reasons)}. Missing: {', '.join(missing)}."
            )


def git_blob_id(file: Path) -> str:
    """The id that Git gives the content of ``file``: the SHA-1 of "blob", its size, a zero and its bytes."""
    content = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as stream:
        while part := stream.read(2**20):
            content.update(part)
    return content.hexdigest()


def _checking(checksum: str, downloader: Callable[..., Any]) -> tuple[str | None, Callable[..., Any]]:
    """The checksum and the downloader as pooch takes them; a Git blob is checked by the downloader."""
    kind, _, expected = checksum.partition(":")
    if kind != "git":
        return checksum, downloader

    def checked(url: str, file: str, _: Any) -> None:
        downloader(url, file, None)
        if git_blob_id(Path(file)) != expected:
            raise ValueError(f"{file} is another blob than {expected}")

    return None, checked


def _reason(error: Exception) -> str:
    """A few words; requests' own texts run over several lines."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"answered {status}"
    if isinstance(error, OSError):
        return f"failed ({error.strerror or type(error).__name__})"
    return "sent a file with a wrong checksum"
