"""Download of data files from the first mirror that works, with checksums."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vaelab.errors import UserError

__all__ = ["Published", "fetch", "find_or_fetch"]

TIMEOUT = 30  # seconds without an answer before the next mirror is tried


class Published(NamedTuple):
    """A data set that is published as one or several files."""

    folder: str  # of its files under a root that other data sets share
    md5: dict[str, str]  # of the published files, by their names
    mirrors: tuple[str, ...]  # addresses that end in a slash, tried in order
    advice: str  # where people find the files


def find_or_fetch(data: Published, root: str, download: bool, path: str | None = None) -> list[Path]:
    """The files of ``data``, in the order of ``data.md5``.

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
                f"data.path={given} is not a file. It must be {next(iter(data.md5))}. {data.advice}"
            )
        return [given]
    top = Path(root).expanduser()
    places = (top / data.folder, top)
    missing = {name: md5 for name, md5 in data.md5.items() if _find(name, places) is None}
    key = "data.path=..." if len(data.md5) == 1 else "data.root=..."
    by_hand = f"By hand: put {', '.join(data.md5)} into {places[0]}, or set {key}. {data.advice}"
    if missing and not download:
        raise UserError(f"No {', '.join(missing)} in {places[0]} or {top}.\n{by_hand}")
    try:
        fetch(missing, data.mirrors, places[0])
    except UserError as error:
        raise UserError(f"{error}\n{by_hand}") from None
    return [file for name in data.md5 if (file := _find(name, places)) is not None]


def _find(name: str, places: Sequence[Path]) -> Path | None:
    candidates = (place / file for place in places for file in (name.removesuffix(".gz"), name))
    return next((path for path in candidates if path.is_file()), None)


def fetch(md5: Mapping[str, str], mirrors: Sequence[str], folder: Path) -> None:
    """Download the files named by ``md5`` (name: checksum) into ``folder``; mirrors are tried in order.

    A file is written under another name and renamed once its checksum is right, so that ``folder`` never has
    a partial or a wrong one.

    Raises:
        UserError: no mirror has a file, with the reason of each mirror. The files after it are not tried,
            since without a network each would need its time to fail.
    """
    if not md5:
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
    for name, checksum in md5.items():
        reasons = []
        for mirror in mirrors:
            try:
                pooch.retrieve(mirror + name, f"md5:{checksum}", name, folder, downloader=downloader)
                break
            except (OSError, ValueError) as error:  # requests' errors are OSErrors
                reasons.append(f"{mirror} {_reason(error)}")
        else:
            missing = [other for other in md5 if not (folder / other).exists()]
            raise UserError(
                f"Could not download {name}: {'; '.join(reasons)}. Missing: {', '.join(missing)}."
            )


def _reason(error: Exception) -> str:
    """A few words; requests' own texts run over several lines."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"answered {status}"
    if isinstance(error, OSError):
        return f"failed ({error.strerror or type(error).__name__})"
    return "sent a file with a wrong checksum"
