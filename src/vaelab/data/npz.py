"""Your own images, from a NumPy .npz file.

=============  ============================================================================
x              (N, H, W), (N, C, H, W), (N, H, W, C) or (N, F) numbers; (N, F): N images (1, 1, F)
y              optional, (N,) whole numbers: class labels, 0, 1, ... for conditional models
factors        optional, (N, F) numbers: ground-truth factors of variation
x_test         optional, images of the same shape and type, with y_test and factors_test
=============  ============================================================================

uint8 images are grey levels, scaled to [0, 1]; bool ones are 0 and 1; other numbers are taken as they are,
as float32; ``data.scale`` scales them (:mod:`vaelab.data.scaling`). Nothing in the file is ever unpickled.
"""

import logging
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaelab.data.images import ImageSet, Source, check_finite
from vaelab.data.memory import check_size, npz_headers
from vaelab.errors import UserError

__all__ = ["load_npz"]

log = logging.getLogger(__name__)

LAYOUTS = ("NCHW", "NHWC")


def load_npz(path: str | None, layout: str | None = None, max_bytes: int | None = None) -> Source:
    """The images of an .npz file; without ``x_test`` the test images are taken from ``x`` by the split.

    Args:
        layout: of 4-dimensional images: NCHW or NHWC. None: NHWC where only the last axis can be that of
            channels (1, 3 or 4 of them, and the two before it are larger), else NCHW.
        max_bytes: the most memory that the images may take; None: half of the free memory.

    Raises:
        UserError: naming the file and the array, if the file is not such a file, an array is not numeric, has
            the wrong number of dimensions, is empty, holds NaN or infinity, or lengths do not match.
    """
    if layout not in (None, *LAYOUTS):
        raise UserError(f"data.layout={layout}: must be {', '.join(LAYOUTS)}, or null.")
    if path is None:
        raise UserError("data.path is not set: give your file with data.path=/path/to/images.npz.")
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"data.path={file} {'is a directory' if file.is_dir() else 'does not exist'}.")
    if not zipfile.is_zipfile(file):
        raise UserError(
            f"data.path={file} is not an .npz file, or is damaged; make it with numpy.savez(path, x=images)."
        )
    try:
        # allow_pickle=False is NumPy's default; it is written here because everything depends on it
        with np.load(file, allow_pickle=False) as arrays:
            names = _names(file, arrays.files)
            _check_sizes(file, names, max_bytes)
            read = {name: _array(file, arrays, name) for name in names}
        return _source(file, {name: _channels_first(file, name, x, layout) for name, x in read.items()})
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{file} is damaged: {error}.") from None


def _names(file: Path, names: list[str]) -> list[str]:
    """The names of the arrays to read; a UserError if ``x`` is missing, or ``x_test`` of a test set."""
    if "x" not in names:
        found = ", ".join(sorted(names)) or "nothing"
        raise UserError(f"{file} has no array 'x'; it has: {found}. Save the images under the name 'x'.")
    if "x_test" not in names and (orphans := {"y_test", "factors_test"} & set(names)):
        raise UserError(f"{file} has {' and '.join(sorted(orphans))}, but no 'x_test'.")
    return [name for part in ("", "_test") for key in ("x", "y", "factors") if (name := key + part) in names]


def _check_sizes(file: Path, names: list[str], max_bytes: int | None) -> None:
    """Refuse arrays that would not fit into memory, their copy in 32 bits with them."""
    try:
        headers = npz_headers(file)
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(f"{file} is damaged: {error}.") from None
    size = 0
    for shape, dtype in (headers[name] for name in names if name in headers):
        converted = 0 if dtype in (np.uint8, np.bool_, np.float32) else 4
        size += math.prod(shape) * (dtype.itemsize + converted)
    check_size(size, str(file), max_bytes)


def _channels_first(file: Path, name: str, array: np.ndarray, layout: str | None) -> np.ndarray:
    """Images (N, H, W, C) as (N, C, H, W); every other array as it is."""
    if name not in ("x", "x_test") or array.ndim != 4:
        return array
    *size, channels = array.shape[1:]
    if layout is None and channels in (1, 3, 4) and min(size) > channels:
        layout = "NHWC"
        log.info("%s: %s %s is read as (N, H, W, C); data.layout=NCHW if it is not.", file, name, array.shape)
    return array.transpose(0, 3, 1, 2) if layout == "NHWC" else array


def _array(file: Path, arrays: Any, name: str) -> np.ndarray:
    try:
        array = arrays[name]
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(f"Array {name!r} of {file} cannot be read as plain numbers: {error}") from None
    dtype = getattr(array, "dtype", None)  # a member of the archive that is no array is bytes
    if dtype is None or dtype.kind not in "buif":
        raise UserError(f"Array {name!r} of {file} is {dtype or 'no array'}; it must hold real numbers.")
    return array


def _source(file: Path, arrays: dict[str, np.ndarray]) -> Source:
    train = _image_set(file, arrays, "")
    test = _image_set(file, arrays, "_test") if "x_test" in arrays else None
    if test is not None and (test.image_shape, test.x.dtype) != (train.image_shape, train.x.dtype):
        raise UserError(
            f"Arrays 'x' and 'x_test' of {file} must be alike, but their images are "
            f"{train.image_shape} {train.x.dtype} and {test.image_shape} {test.x.dtype}."
        )
    width = 0 if train.factors is None else train.factors.shape[1]
    return Source(train, test, tuple(f"factor_{i}" for i in range(width)), files=(file,))


def _image_set(file: Path, arrays: dict[str, np.ndarray], part: str) -> ImageSet:
    x = _images(file, f"x{part}", arrays[f"x{part}"])
    y, factors = arrays.get(f"y{part}"), arrays.get(f"factors{part}")
    for name, rows, dimensions in ((f"y{part}", y, 1), (f"factors{part}", factors, 2)):
        if rows is not None and (rows.ndim != dimensions or len(rows) != len(x)):
            expected = f"({len(x)},)" if dimensions == 1 else f"({len(x)}, F)"
            raise UserError(
                f"Array {name!r} of {file} is {rows.shape}; with these images it must be {expected}."
            )
    if y is not None and y.dtype.kind == "f":
        raise UserError(f"Array 'y{part}' of {file} is {y.dtype}; class labels must be whole numbers.")
    return ImageSet(
        x,
        None if y is None else _integers(y),
        None
        if factors is None
        # classes, or values
        else _integers(factors)
        if factors.dtype.kind != "f"
        else _float32(file, f"factors{part}", factors),
    )


def _images(file: Path, name: str, array: np.ndarray) -> Tensor:
    """(N, C, H, W) in the type that it is kept in."""
    if array.ndim not in (2, 3, 4) or array.size == 0:
        wrong = "is empty" if array.size == 0 else "has the wrong number of dimensions"
        raise UserError(
            f"Array {name!r} of {file} {wrong}: it is {array.shape}, not (N, H, W), (N, C, H, W) or (N, F)."
        )
    # A channel is added in front and, for plain vectors, a row
    shaped = array.reshape(len(array), *(1,) * (4 - array.ndim), *array.shape[1:])
    if array.dtype in (np.uint8, np.bool_):
        return torch.from_numpy(np.ascontiguousarray(shaped))
    return _float32(file, name, shaped)


def _integers(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.int64))


def _float32(file: Path, name: str, array: np.ndarray) -> Tensor:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is reported
        values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    check_finite(values, f"Array {name!r} of {file}")
    return values
