"""dSprites: every combination of five factors, drawn once.

"dSprites: Disentanglement testing Sprites dataset" (Matthey, Higgins, Hassabis & Lerchner, 2017)

The factors, their order and their classes are those of the sprites that :mod:`vaelab.data.sprites` draws:
shape (square, ellipse, heart), scale (6, 1/2 to 1), orientation (40, 0 to 2 pi, both included), x and y (32
each, 0 to 1; posX and posY in the file). The file's first factor, color, has one value and is left out here:
the entropy of a factor that does not vary, by which scores such as the MIG divide, is zero.

The file is an .npz with imgs (737280, 64, 64) uint8 of 0 and 1, latents_classes (737280, 6) int64,
latents_values, and metadata, which is pickled and never read here.
"""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from vaelab.data.download import Published, find_or_fetch
from vaelab.data.images import ImageSet, Source
from vaelab.data.mapped import MappedImages, written_out
from vaelab.data.memory import array_header, check_size, npz_headers
from vaelab.data.sprites import FACTOR_NAMES
from vaelab.errors import UserError

__all__ = ["DSPRITES", "load_dsprites"]

# Its authors publish no checksum. Two projects agree on this one:
# BoevaLab/latte (latte/dataset/dsprites.py) and ganmodokix/vaetc (vaetc/data/dsprites.py), both on GitHub.
DSPRITES = Published(
    folder="dsprites",
    checksums={"dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz": "md5:7da33b31b13a06f4b04a70402ce90c2e"},
    mirrors=(
        "https://raw.githubusercontent.com/google-deepmind/dsprites-dataset/master/",
        "https://github.com/deepmind/dsprites-dataset/raw/master/",
    ),
    advice="It is published at https://github.com/google-deepmind/dsprites-dataset.",
)
FILE_FACTORS = ("color", *FACTOR_NAMES)
BLOCK = 8192  # images unpacked at once: 34 MB


def load_dsprites(root: str, path: str | None = None, download: bool = True) -> Source:
    """The 737,280 images, (N, 1, 64, 64) bool, read when indexed; test images are taken by the split.

    y: the shape; factors: (N, 5) int64 classes. ``path`` is the file; without it, it is looked for in
    ``root/dsprites`` and ``root``, and downloaded into the former.

    At first use the images are written to ``root/dsprites`` with eight pixels in a byte: 377 MB
    instead of 3 GB. A run then reads and unpacks only its own images.

    Raises:
        UserError: the file does not exist, is damaged or has another layout.
    """
    (file,) = find_or_fetch(DSPRITES, root, download, path)
    with _imgs(file) as (_, shape):
        images, height, width = shape
    classes = _classes(file, images)
    stored = written_out(
        file,
        Path(root).expanduser() / DSPRITES.folder,
        (images, -(-height * width // 8)),
        lambda: _packed(file),
    )
    x = MappedImages(stored, (1, height, width), torch.bool)
    factors = classes[:, 1:].contiguous()
    everything = ImageSet(x, y=factors[:, 0].clone(), factors=factors)
    return Source(everything, factor_names=FACTOR_NAMES, files=(file, stored))


def _packed(file: Path) -> Iterator[np.ndarray]:
    """The images in blocks, packed: (B, ceil(H W / 8)) uint8. The whole stream is never in memory."""
    with _imgs(file) as (stream, (images, height, width)):
        for start in range(0, images, BLOCK):
            length = min(BLOCK, images - start)
            content = stream.read(length * height * width)
            if len(content) != length * height * width:
                raise EOFError("it ends within its images")
            pixels = np.frombuffer(content, np.uint8).reshape(length, height * width)
            if pixels.max() > 1:
                raise UserError(f"Array 'imgs' of {file} is not binary: it has a value of {pixels.max()}.")
            yield np.packbits(pixels, axis=1)
        stream.read(1)  # at its end zipfile compares the checksum


@contextmanager
def _imgs(file: Path) -> Iterator[tuple[IO[bytes], tuple[int, int, int]]]:
    """The stream of the array ``imgs``, positioned at its first pixel, and its shape (N, H, W)."""
    with _reading(file), zipfile.ZipFile(file) as archive, archive.open("imgs.npy") as stream:
        shape, by_column, dtype = array_header(stream)
        if len(shape) != 3 or 0 in shape or dtype not in (np.uint8, np.bool_) or by_column:
            raise UserError(f"Array 'imgs' of {file} is {shape} {dtype}; it must be (N, H, W) uint8.")
        yield stream, shape


def _classes(file: Path, images: int) -> Tensor:
    """The classes of all factors, the file's color included, (N, 6) int64."""
    with _reading(file), np.load(file, allow_pickle=False) as arrays:
        shape, dtype = npz_headers(file)["latents_classes"]
        check_size(2 * math.prod(shape) * dtype.itemsize, f"latents_classes of {file}")
        classes = arrays["latents_classes"]
    if classes.shape != (images, len(FILE_FACTORS)) or classes.dtype.kind not in "iu":
        raise UserError(
            f"Array 'latents_classes' of {file} is {classes.shape} {classes.dtype}; with these images it "
            f"must be ({images}, {len(FILE_FACTORS)}) whole numbers: {', '.join(FILE_FACTORS)}."
        )
    return torch.from_numpy(classes.astype(np.int64))


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """A UserError for whatever is wrong with the file."""
    try:
        yield
    except KeyError as error:
        raise UserError(f"{file} is not dSprites' file: {error.args[0]}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as error:
        raise UserError(f"{file} is not an .npz file, or is damaged: {error}. Get it again.") from None
