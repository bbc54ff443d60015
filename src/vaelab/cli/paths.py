"""The folders of vaelab's configs and of a command's outputs."""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["conf_dir", "split_outputs"]

OUTPUTS = "paths.outputs="


def conf_dir() -> Path:
    """The folder of the configs: inside the package in a wheel, at the top of a checkout otherwise."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "conf", here.parents[1] / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(f"There are no configs in {here / 'conf'}, nor in {here.parents[1] / 'conf'}.")


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
