"""Where vaelab's own files lie."""

from pathlib import Path


def conf_dir() -> Path:
    """The folder of the configs: inside of the package in a wheel, else at the top of the checkout."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "conf", here.parents[1] / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(
        f"vaelab's configs lie neither in {here / 'conf'} nor in {here.parents[1] / 'conf'}"
    )
