"""Download of data files from the first mirror that works, with checksums."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vaelab.errors import UserError

__all__ = ["PublishedFile", "fetch", "find_or_fetch"]

TIMEOUT = 30  # seconds without an answer before the next mirror is tried


class PublishedFile(NamedTuple):
    """A data set that is published as one file."""

    name: str
    folder: str  # of the file under a root that other data sets share
    md5: str
    mirrors: tuple[str, ...]  # addresses that end in a slash, tried in order
    page: str  # for people


def find_or_fetch(file: PublishedFile, root: str, path: str | None, download: bool) -> Path:
    """Where ``file`` is: at ``path`` if that is set, else in ``root/<folder>`` or ``root``, else downloaded.

    It is downloaded into ``root/<folder>``; only downloads are checked against the checksum.

    Raises:
        UserError: no file is found and none can be downloaded; it says what to do by hand.
    """
    if path is not None:
        given = Path(path).expanduser()
        if not given.is_file():
            raise UserError(f"data.path={given} is not a file. It must be {file.name} from {file.page}.")
        return given
    top = Path(root).expanduser()
    places = (top / file.folder / file.name, top / file.name)
    for place in places:
        if place.is_file():
            return place
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

    A file is written under another name and renamed once its checksum is right, so that ``folder`` never has
    a partial or a wrong one.

    Raises:
        UserError: no mirror has a file, with the reason of each mirror. The files after it are not tried,
            since without a network each would need its time to fail.
    """
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
