"""A digest of a run's images, by which two runs on different images under one name are told apart."""

import hashlib
import math

import torch
from torch import Tensor

from vaelab.data.images import ImageSet
from vaelab.functional.images import Images

__all__ = ["data_digest"]

MOST_BYTES = 2**30  # of the images of a split; of a larger one, images at even distances are read
CHUNK, CHUNK_BYTES = 1024, 2**26  # images read at once, and their size


def data_digest(train: ImageSet, val: ImageSet | None, test: ImageSet) -> str:
    """SHA-256 over the shapes, types, images, labels and factors of the splits, as 64 hexadecimal digits.

    It depends on the values and their order, not on where the images are stored.
    """
    content = hashlib.sha256()
    for name, part in (("train", train), ("val", val), ("test", test)):
        content.update(f"{name} {None if part is None else (tuple(part.x.shape), part.x.dtype)}".encode())
        if part is not None:
            _add_images(content, part.x)
            for rows in (part.y, part.factors):
                content.update(b"none" if rows is None else _bytes(rows))
    return content.hexdigest()


def _add_images(content: "hashlib._Hash", images: Images) -> None:
    each = max(1, math.prod(images.shape[1:]) * images.dtype.itemsize)
    step = max(1, min(len(images), math.ceil(len(images) * each / MOST_BYTES)))
    for index in torch.arange(0, len(images), step).split(min(CHUNK, max(1, CHUNK_BYTES // each))):
        content.update(_bytes(images[index]))


def _bytes(values: Tensor) -> bytes:
    return values.contiguous().numpy().tobytes()
