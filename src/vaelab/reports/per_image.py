"""Rate and distortion of every test image, which a run keeps beside its record."""

import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaelab.runs.record import PER_IMAGE

__all__ = ["PerImage", "read_per_image"]

TYPES = {"rate": np.float32, "distortion": np.float32, "position": np.int64}
OPTIONAL = {"constant_distortion": np.float32}
MOST_BYTES = 2**28  # unpacked; 16 or 20 bytes an image


class PerImage(NamedTuple):
    """The test images, by ascending position in the data set's test images."""

    position: NDArray[np.int64]  # (N,), all different
    rate: NDArray[np.float64]  # (N,), nats, averaged over draws of z
    distortion: NDArray[np.float64]  # (N,)
    constant: NDArray[np.float64] | None = None  # (N,), the distortion of the best constant image, if kept


def read_per_image(folder: Path) -> PerImage | None:
    """The file in a run's folder; None if the run kept none, as runs without a rate and older ones.

    Raises:
        ValueError: the file is broken, is not what a run writes, or lies outside the folder.
    """
    path = folder / PER_IMAGE
    if not path.is_symlink() and not path.exists():
        return None
    if path.is_symlink() or not path.is_file():
        raise ValueError("it is no file of this folder")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                raise ValueError(f"it holds more than {MOST_BYTES} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            types = TYPES | {name: dtype for name, dtype in OPTIONAL.items() if name in arrays}
            found = {name: arrays[name] for name in types}
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, SyntaxError, MemoryError) as error:
        raise ValueError(f"it can't be read ({type(error).__name__})") from error
    if any(found[name].dtype != dtype or found[name].ndim != 1 for name, dtype in types.items()):
        raise ValueError("its arrays have other types or shapes than a run writes")
    if len({len(array) for array in found.values()}) > 1:
        raise ValueError("its arrays differ in length")
    position, first = np.unique(found["position"], return_index=True)
    if len(position) < len(found["position"]):
        raise ValueError("an image stands in it twice")
    values = {name: found[name][first].astype(np.float64) for name in types if name != "position"}
    if not all(np.isfinite(array).all() for array in values.values()):
        raise ValueError("a number in it is not finite")
    return PerImage(position, values["rate"], values["distortion"], values.get("constant_distortion"))
