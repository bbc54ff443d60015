"""Files from the first mirror that has them: whole and with the right checksum, or not at all."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vaelab.errors import UserError

TIMEOUT = 30  # seconds without an answer before the next mirror is tried


class PublishedFile(NamedTuple):
    """A data set that is published as one file."""

    name: str
    folder: str  # where it lies under a root that other data sets share
    md5: str
    mirrors: tuple[str, ...]  # addresses that end in a slash, tried in order
    page: str  # where people find it


def find_or_fetch(file: PublishedFile, root: str, path: str | None, download: bool) -> Path:
    """Where ``file`` is: at ``path`` if that is set, else in ``root/<folder>`` or ``root``, else downloaded.

    It is downloaded into ``root/<folder>``, and its checksum is looked at then: a file that was there before,
    or that ``path`` names, is taken as it is. Raises UserError if there is none, saying what to do by hand.
    """
    if path is not None:
        given = Path(path).expanduser()
        if not given.is_file():
            wrong = "is a directory; it must be one file" if given.is_dir() else "does not exist"
            raise UserError(f"data.path={given} {wrong}. It is meant to be {file.name} from {file.page}.")
        return given
    top = Path(root).expanduser()
    places = (top / file.folder / file.name, top / file.name)
    found = next((place for place in places if place.is_file()), None)
    if found is not None:
        return found
    by_hand = f"By hand: get {file.name} from {file.page} and say where it is with data.path=..."
    if not download:
        raise UserError(f"There is no {places[0]}.\n{by_hand}")
    try:
        fetch({file.name: file.md5}, file.mirrors, places[0].parent)
    except UserError as error:
        raise UserError(f"{error}\n{by_hand}") from None
    return places[0]


def fetch(md5: Mapping[str, str], mirrors: Sequence[str], folder: Path) -> None:
    """Download the files named by ``md5`` (name: checksum) into ``folder``; mirrors are tried in order.

    A file is written under another name and renamed once its checksum is right, so that ``folder`` never
    holds a half or a wrong one. Raises UserError that names the file that no mirror gave, and why; the files
    after it are not tried, since without a network each would take its time to fail.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made for the download: {error.strerror}. Set data.root."
        ) from None
    for name, checksum in md5.items():
        reasons = _fetch_one(name, checksum, mirrors, folder)
        if reasons:
            missing = [other for other in md5 if not (folder / other).exists()]
            raise UserError(
                f"Could not download {name}: {'; '.join(reasons)}. Missing: {', '.join(missing)}."
            )


def _fetch_one(name: str, md5: str, mirrors: Sequence[str], folder: Path) -> list[str]:
    """Nothing if the file has come, else why each mirror failed."""
    import pooch

    # pooch reports each step; what matters is the progress bar here and the error above
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)
    reasons = []
    for mirror in mirrors:
        try:
            pooch.retrieve(mirror + name, f"md5:{md5}", fname=name, path=folder, downloader=downloader)
        except (
            OSError,
            ValueError,
        ) as error:  # requests' errors are OSErrors; a wrong checksum is a ValueError
            reasons.append(f"{mirror} {_reason(error)}")
        else:
            return []
    return reasons


def _reason(error: Exception) -> str:
    """A few words; requests' own texts run over several lines."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"answered {status}"
    if isinstance(error, OSError):
        return f"failed ({error.strerror or type(error).__name__})"
    return "sent a file with a wrong checksum"
