"""Where a run's files lie: its outputs folder, and its data when the run or the user has moved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.errors import UserError

__all__ = ["outputs_of", "with_data_found"]

KEYS = ("path", "root")  # of the node data: a file, or a folder of data sets
LEVELS = 5  # folders above a run that are searched; outputs/sweeps/NAME/JOB has four of them


def outputs_of(folder: Path) -> Path:
    """The outputs folder of the run in ``folder``; the run's own folder if it lies in none, as a copy may.

    >>> outputs_of(Path("/a/outputs/sweeps/demo/03-beta1")), outputs_of(Path("/a/copy"))
    (PosixPath('/a/outputs'), PosixPath('/a/copy'))
    """
    folder = folder.absolute()
    for depth, kind in ((1, "runs"), (2, "sweeps")):
        above = folder.parents
        if len(above) > depth and above[depth - 1].name == kind:
            return above[depth]
    return folder


def with_data_found(
    config: Mapping[str, Any],
    folder: Path,
    record: Mapping[str, Any],
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A run's config whose ``data.path`` and ``data.root`` exist, if they are found.

    They are looked for as recorded from the current folder, then from where the run was started
    (``record["directory"]``), then in the run's folder and those above it, under their whole path and their
    name alone. Whether they are the same data, their digest says.

    Args:
        config: the resolved config.
        given: the user's own ``path`` or ``root``, used as they are.

    Raises:
        UserError: the run's data have no such key.
    """
    data = dict(config["data"])
    for key in KEYS:
        old, new = data.get(key), (given or {}).get(key)
        if new is not None and old is None:
            raise UserError(f"data.{key}={new}: the data of {folder} have no {key}.")
        if new is None and isinstance(old, str):
            new = _found(old, folder.absolute(), record.get("directory"))
        if new is not None and new != old:
            data = _replaced(data, old, str(new))
    return {**config, "data": data}


def _found(path: str, folder: Path, started: Any) -> str | None:
    """The first place of ``path`` that exists; None if there is none, or it is where the record says."""
    file = Path(path).expanduser()
    if file.exists():
        return None
    tops = [*([Path(started)] if isinstance(started, str) else []), folder, *folder.parents[:LEVELS]]
    names = [file.name] if file.is_absolute() else [str(file), file.name]
    places = (top / name for top in tops for name in names if name)
    return next((str(place) for place in places if place.exists()), None)


def _replaced(node: Any, old: Any, new: str) -> Any:
    """``node`` with every value that is ``old`` replaced: interpolations of it are resolved already."""
    if isinstance(node, Mapping):
        return {key: _replaced(value, old, new) for key, value in node.items()}
    return new if node == old else node
