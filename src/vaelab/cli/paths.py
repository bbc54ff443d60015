"""Where vaelab's own files lie, and where a command's outputs do."""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["conf_dir", "split_outputs"]

OUTPUTS = "paths.outputs="


def conf_dir() -> Path:
    """The folder of the configs: inside of the package in a wheel, else at the top of the checkout."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "conf", here.parents[1] / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(f"There are no configs in {here / 'conf'}, nor in {here.parents[1] / 'conf'}.")


def split_outputs(words: Sequence[str]) -> tuple[list[str], Path]:
    """The words of a command line without ``paths.outputs=FOLDER``, and that folder, by default ``outputs``.

    >>> split_outputs(["demo", "paths.outputs=elsewhere"])
    (['demo'], PosixPath('elsewhere'))
    """
    names = [word for word in words if not word.startswith(OUTPUTS)]
    folders = ["outputs", *(word.removeprefix(OUTPUTS) for word in words if word.startswith(OUTPUTS))]
    return names, Path(folders[-1])
