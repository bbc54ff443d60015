"""Sets of images that are indexed by tensors of positions, in memory or rendered on demand."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.errors import UserError
from vaelab.functional.images import Images, chunks, map_images
from vaelab.types import Batch

__all__ = ["ChangedImages", "ImageSet", "Selection", "Source", "check_finite"]


@dataclass(frozen=True, eq=False)
class ChangedImages:
    """Lazy ``images`` that a subclass changes one by one when it is indexed; their shape stays."""

    images: Images

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Selection:
    """Some of the ``images`` in a chosen order, kept as positions (N,) until they are indexed."""

    images: Images
    index: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.index), *self.images.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        return self.images.dtype

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.images[self.index[index]]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels and factors, by position.

    x: N images (C, H, W); y: (N,) int64 class labels; factors: (N, F) ground-truth factors of variation.
    """

    x: Images
    y: Tensor | None = None
    factors: Tensor | None = None

    def __post_init__(self) -> None:
        for name, rows in (("y", self.y), ("factors", self.factors)):
            if rows is not None and len(rows) != len(self.x):
                raise ValueError(f"{len(self.x)} images but {len(rows)} rows of {name}")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.x.shape
        return channels, height, width

    def batch(self, index: Tensor) -> Batch:
        """The images at the positions ``index`` (B,) and their rows, as they are stored (not scaled)."""
        return Batch(self.x[index], _rows(self.y, index), _rows(self.factors, index), index)

    def subset(self, index: Tensor) -> "ImageSet":
        """The set of the positions ``index`` (N',): a copy if the images are in memory, else a selection."""
        x = self.x[index] if isinstance(self.x, Tensor) else Selection(self.x, index)
        return ImageSet(x, _rows(self.y, index), _rows(self.factors, index))

    def materialise(self, limit: int) -> "ImageSet":
        """The same set with its images in memory if they take at most ``limit`` bytes; else itself, lazy."""
        if isinstance(self.x, Tensor) or math.prod(self.x.shape) * self.x.dtype.itemsize > limit:
            return self
        return replace(self, x=map_images(self.x, lambda part: part))


class Source(NamedTuple):
    """The result of a source: a pool to train and validate on, and held-out images if it has its own."""

    train: ImageSet
    test: ImageSet | None = None
    factor_names: tuple[str, ...] = ()
    val: ImageSet | None = None
    class_names: tuple[str, ...] = ()  # of the labels 0, 1, ..., where they are known
    files: tuple[Path, ...] | None = None  # that it was read from; None: unknown, so that each job reads anew


def check_finite(x: Images, name: str) -> None:
    """A UserError that begins with ``name`` if any value is NaN or infinite."""
    if not x.dtype.is_floating_point:
        return
    bad = sum(int((~part.isfinite()).sum()) for part in chunks(x))
    if bad:
        raise UserError(f"{name} has {bad} values that are NaN or infinite; every value must be finite.")


def _rows(rows: Tensor | None, index: Tensor) -> Tensor | None:
    return None if rows is None else rows[index]
