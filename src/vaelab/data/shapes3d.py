"""3D Shapes: a solid in a room, every combination of six factors once.

"3D Shapes Dataset" (Burgess & Kim, 2018)

===========  ======  ===============================================
floor_hue        10  0 to 0.9
wall_hue         10  0 to 0.9
object_hue       10  0 to 0.9
scale             8  0.75 to 1.25
shape             4  solids, numbered from 0
orientation      15  -30 to 30 degrees
===========  ======  ===============================================

The file is HDF5 with images (480000, 64, 64, 3) uint8 and labels (480000, 6) float64, the values of the
factors, in this order, the last one changing fastest. A factor is the rank of its value.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaelab.data.download import Published, find_or_fetch
from vaelab.data.images import ImageSet, Source
from vaelab.data.mapped import MappedImages, written_out
from vaelab.data.memory import check_size
from vaelab.errors import UserError

__all__ = ["SHAPES3D", "load_shapes3d"]

# Its authors publish no checksum. Three projects agree on this one:
# nmichlo/disent (disent/dataset/data/_groundtruth__shapes3d.py), BoevaLab/latte (latte/dataset/shapes3d.py)
# and ganmodokix/vaetc (vaetc/data/shapes3d.py), all on GitHub.
SHAPES3D = Published(
    folder="shapes3d",
    checksums={"3dshapes.h5": "md5:099a2078d58cec4daad0702c55d06868"},
    mirrors=("https://storage.googleapis.com/3d-shapes/",),
    advice="It is published at https://github.com/google-deepmind/3d-shapes.",
)
FACTOR_NAMES = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
SHAPE = FACTOR_NAMES.index("shape")
BLOCK = 1024  # images read at once, unless the file's chunks have more


def load_shapes3d(root: str, path: str | None = None, download: bool = True) -> Source:
    """The 480,000 images, (N, 3, 64, 64) uint8, read when indexed; test images are taken by the split.

    y: the shape; factors: (N, 6) int64 classes. ``path`` is the file; without it, it is looked for in
    ``root/shapes3d`` and ``root``, and downloaded into the former (268 MB). Needs h5py.

    At first use the images are written to ``root/shapes3d`` uncompressed: 5.9 GB of disk, a few minutes. They
    cannot be read from the file itself: the chunks that h5py chooses for such an array hold 4x4 pixels of one
    channel of 15,000 images, so that one image is 768 compressed chunks, and takes a third of a second.

    Raises:
        UserError: h5py is not installed, or the file does not exist, is damaged or has another layout.
    """
    _require_h5py()
    (file,) = find_or_fetch(SHAPES3D, root, download, path)
    with _opened(file) as arrays:
        images, height, width, channels = arrays["images"].shape
        factors = classes(arrays["labels"][:])
    image_shape = (channels, height, width)
    stored = written_out(
        file,
        Path(root).expanduser() / SHAPES3D.folder,
        (images, *image_shape),
        lambda: _blocks(file),
    )
    x = MappedImages(stored, image_shape, torch.uint8)
    everything = ImageSet(x, y=factors[:, SHAPE].clone(), factors=factors)
    return Source(everything, factor_names=FACTOR_NAMES, files=(file, stored))


def classes(values: np.ndarray) -> Tensor:
    """The rank of every value among the different values of its column: (N, F) numbers to (N, F) int64."""
    ranks = [np.unique(column, return_inverse=True)[1] for column in values.T]
    return torch.from_numpy(np.stack(ranks, axis=1).astype(np.int64))


def _blocks(file: Path) -> Iterator[np.ndarray]:
    """The images in blocks, channels first: (B, C, H, W) uint8. Each of the file's chunks is read once."""
    with _opened(file) as arrays:
        images = arrays["images"]
        chunk = images.chunks[0] if images.chunks else 1
        step = chunk * -(-BLOCK // chunk)
        for start in range(0, len(images), step):
            yield images[start : start + step].transpose(0, 3, 1, 2)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """The arrays of the file; a UserError if they are not those of 3D Shapes, or cannot be read."""
    import h5py

    try:
        with h5py.File(file, "r") as arrays:
            _check_layout(file, arrays)
            yield arrays
    except OSError as error:
        raise UserError(f"{file} is not an HDF5 file, or is damaged: {error}. Get it again.") from None


def _check_layout(file: Path, arrays: Any) -> None:
    missing = sorted({"images", "labels"} - set(arrays))
    if missing:
        raise UserError(f"{file} is not 3D Shapes' file: it has no {' and no '.join(missing)}.")
    images, labels = arrays["images"], arrays["labels"]
    if images.ndim != 4 or images.dtype != np.uint8 or 0 in images.shape:
        raise UserError(
            f"Array 'images' of {file} is {images.shape} {images.dtype}; it must be (N, H, W, C) uint8."
        )
    if labels.shape != (len(images), len(FACTOR_NAMES)) or labels.dtype.kind not in "fiu":
        raise UserError(
            f"Array 'labels' of {file} is {labels.shape} {labels.dtype}; with these images it must be "
            f"({len(images)}, {len(FACTOR_NAMES)}) numbers: {', '.join(FACTOR_NAMES)}."
        )
    block = max(BLOCK, images.chunks[0] if images.chunks else 1) * math.prod(images.shape[1:])
    check_size(3 * max(labels.size * labels.dtype.itemsize, block), str(file))


def _require_h5py() -> None:
    try:
        import h5py  # noqa: F401
    except ImportError:
        needs = "data=shapes3d reads an HDF5 file, which needs h5py"
        raise UserError(f"{needs}: pip install 'vaelab[shapes3d]'.") from None
