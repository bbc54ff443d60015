"""The folders of vaelab's configs and of a command's outputs."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from vaelab import __version__

__all__ = ["conf_dir", "importable", "shown_path", "split_outputs", "version_text"]

OUTPUTS = "paths.outputs="


def conf_dir() -> Path:
    """The folder of the configs: inside the package in a wheel, at the top of a checkout otherwise."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "conf", here.parents[1] / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(f"There are no configs in {here / 'conf'}, nor in {here.parents[1] / 'conf'}.")


def importable(config_dirs: Iterable[str | Path] = ()) -> None:
    """Let Python find packages in the current folder and beside each folder of further options.

    They come last, so that no file in these folders stands in for an installed package.
    """
    for folder in (Path.cwd(), *(Path(name).absolute().parent for name in config_dirs)):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


def shown_path(path: str | Path) -> str:
    """The path as one would type it: relative to the current folder, if it is below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative


def version_text() -> str:
    """What ``--version`` prints."""
    return f"vaelab {__version__}"


def split_outputs(arguments: Sequence[str]) -> tuple[list[str], Path]:
    """A command line's arguments without ``paths.outputs=FOLDER``, and that folder, by default ``outputs``.

    >>> split_outputs(["demo", "paths.outputs=elsewhere"])
    (['demo'], PosixPath('elsewhere'))
    """
    names = [argument for argument in arguments if not argument.startswith(OUTPUTS)]
    folders = [
        "outputs",
        *(argument.removeprefix(OUTPUTS) for argument in arguments if argument.startswith(OUTPUTS)),
    ]
    return names, Path(folders[-1])
