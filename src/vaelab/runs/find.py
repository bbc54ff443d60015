"""Find runs and sweeps: a folder by its name, the newest sweep, the records below a folder."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vaelab.errors import UserError, nearest
from vaelab.runs.lock import FILE_NAME as BEAT
from vaelab.runs.naming import MULTIRUN
from vaelab.runs.record import FILE_NAME, read_record

__all__ = ["find_all", "find_run", "locate", "natural", "newest_sweep", "record_folders", "sweep_records"]

SIGNS = (MULTIRUN, f"*/{FILE_NAME}", f"*/{BEAT}")
"""The files below a sweep's folder whose modification times date its last activity."""


def find_all(names: Sequence[str], outputs: Path) -> list[Path]:
    """The folder of each name (:func:`locate`); without a name, the newest sweep."""
    return [locate(name, outputs) for name in names] or [newest_sweep(outputs)]


def locate(name: str, outputs: Path) -> Path:
    """The path ``name``, or the sweep of this name in ``<outputs>/sweeps``, or the run in ``<outputs>/runs``.

    Raises:
        UserError: there is none; the message suggests the most similar name.
    """
    for path in (Path(name), outputs / "sweeps" / name, outputs / "runs" / name):
        if path.exists():
            return path
    names = [folder.name for kind in ("sweeps", "runs") for folder in (outputs / kind).glob("*")]
    guess = nearest(Path(name).name, names)
    hint = f" Did you mean {guess!r}?" if guess else ""
    raise UserError(f"{name}: there is no such folder, and no sweep of this name in {outputs}.{hint}")


def find_run(name: str, outputs: Path) -> tuple[Path, str | None]:
    """The folder of a single run (:func:`locate`), and the checkpoint in it if ``name`` is one.

    Raises:
        UserError: there is none, or it is a sweep of several runs.
    """
    path = locate(name, outputs)
    if path.is_file() and path.name != FILE_NAME:
        for folder in path.absolute().parents[:2]:
            if (folder / FILE_NAME).is_file():
                return folder, str(path.absolute().relative_to(folder))
        raise UserError(
            f"There is no {FILE_NAME} beside {path} or above it: it is not a checkpoint of a run."
        )
    folders = record_folders(path)
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders[:3])
        raise UserError(f"{path} has {len(folders)} runs ({names}, ...). Name one of them: {folders[0]}")
    if not folders or not (folders[0] / FILE_NAME).is_file():
        raise UserError(f"There is no {FILE_NAME} in {path}: it is not the folder of a run.")
    return folders[0], None


def newest_sweep(outputs: Path) -> Path:
    """The sweep in ``<outputs>/sweeps`` with the latest command, record or heartbeat.

    Raises:
        UserError: there is no sweep.
    """
    newest: dict[Path, float] = {}
    for sign in SIGNS:
        for file in (outputs / "sweeps").glob(f"*/{sign}"):
            sweep = file.parents[sign.count("/")]
            newest[sweep] = max(newest.get(sweep, 0.0), _modified(file))
    if not newest:
        raise UserError(
            f"There is no sweep in {outputs / 'sweeps'}. Run one with vaelab-train -m model.beta=1,2,4, "
            "or name a folder."
        )
    return max(newest, key=lambda sweep: newest[sweep])


def record_folders(path: Path) -> list[Path]:
    """``path`` itself if it is a run, else the runs below it (a sweep), else the runs below its sweeps."""
    if path.name == FILE_NAME:
        return [path.parent]
    if (path / FILE_NAME).is_file():
        return [path]
    found = list(path.glob(f"*/{FILE_NAME}")) or list(path.glob(f"*/*/{FILE_NAME}"))
    return sorted((file.parent for file in found), key=natural)


def sweep_records(folder: Path) -> list[dict[str, Any]]:
    """The readable records of a sweep in the order of its jobs, each with the additional key ``folder``."""
    records = []
    for path in record_folders(folder):
        with suppress(ValueError, OSError):
            records.append({**read_record(path), "folder": path})
    return records


def natural(text: Path | str) -> list[Any]:
    """A sort key by which ``9-a`` comes before ``10-a``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(text))]


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # another process is replacing the file
        return 0.0
