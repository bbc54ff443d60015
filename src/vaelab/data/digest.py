"""A digest of a run's images, by which two runs on different images under one name are told apart."""

import hashlib
import math

import torch
from torch import Tensor

from vaelab.data.images import ImageSet, Selection
from vaelab.functional.images import Images, chunks

__all__ = ["data_digest"]

MOST_BYTES = 2**30  # of the images of a split; of a larger one, images at even distances are read


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
    for part in chunks(Selection(images, torch.arange(0, len(images), step))):
        content.update(_bytes(part))


def _bytes(values: Tensor) -> bytes:
    return values.contiguous().numpy().tobytes()
