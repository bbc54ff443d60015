"""Files from the first mirror that has them: whole and with the right checksum, or not at all."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from vaelab.errors import UserError

TIMEOUT = 30  # seconds without an answer before the next mirror is tried


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
