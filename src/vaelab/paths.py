"""Where vaelab's own files lie."""

from pathlib import Path


def conf_dir() -> Path:
    """The folder of the configs: inside the package when installed from a wheel, else at the checkout's top."""
    here = Path(__file__).resolve().parent
    for folder in (here / "conf", here.parents[1] / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(
        f"vaelab's configs lie neither in {here / 'conf'} nor in {here.parents[1] / 'conf'}"
    )
