"""Sets of images that are addressed by index tensors, in memory or rendered on demand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from vaelab.errors import UserError
from vaelab.types import Batch

CHUNK = 4096  # images handled at once where a whole set is passed through


class Images(Protocol):
    """What a set of images must offer; a (N, C, H, W) tensor does, and so does anything that renders them.

    The dtype is bool (binary images), uint8 (grey levels 0 to 255) or float32 (values as they are).
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of what indexing gives."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor, /) -> Tensor:
        """The images at the int64 positions ``index`` (B,): (B, C, H, W)."""


@dataclass(frozen=True, eq=False)
class Selection:
    """Some of the ``images`` in a chosen order, kept as an index (N,) until they are asked for."""

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
    """Images and what is known of them, position by position.

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
        """The same set with its images in memory if they are at most ``limit``; else itself, still lazy."""
        if isinstance(self.x, Tensor) or len(self) > limit:
            return self
        return replace(self, x=map_images(self.x, lambda part: part))


class Source(NamedTuple):
    """What a source of data gives: a pool to train and validate on, and the test images if it has its own."""

    train: ImageSet
    test: ImageSet | None = None
    factor_names: tuple[str, ...] = ()


def to_float(x: Tensor) -> Tensor:
    """Stored images as float32: grey levels 0 to 255 become 0 to 1, binary images 0 or 1, floats stay."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x.float()


def chunks(x: Images) -> Iterator[Tensor]:
    """The images in order, at most CHUNK at a time, so that no float copy of a whole set is ever needed."""
    for start in range(0, len(x), CHUNK):
        yield x[torch.arange(start, min(start + CHUNK, len(x)))]


def map_images(x: Images, function: Callable[[Tensor], Tensor]) -> Tensor:
    """``function`` of all images, chunk by chunk in order, put together in memory."""
    return torch.cat([function(part) for part in chunks(x)])


def value_range(x: Images) -> tuple[float, float]:
    """The least and the largest value after :func:`to_float`; (0, 1), unseen, for binary images."""
    if x.dtype == torch.bool:
        return 0.0, 1.0
    limits = torch.stack([torch.stack(to_float(part).aminmax()) for part in chunks(x)])
    return limits[:, 0].min().item(), limits[:, 1].max().item()


def on_grid(x: Tensor, levels: int) -> Tensor:
    """() bool: is every value one of 0, 1/(levels - 1), ..., 1, but for the rounding of float32?"""
    steps = levels - 1
    nearest = (x * steps).round().clamp(0, steps) / steps
    return ((x - nearest).abs() < 1e-6).all()


def grey_levels(x: Images) -> int | None:
    """2 for images of 0 and 1, 256 for those of k/255, None for others; by the dtype where it tells."""
    if x.dtype in (torch.bool, torch.uint8):
        return 2 if x.dtype == torch.bool else 256
    for levels in (2, 256):
        if all(bool(on_grid(part, levels)) for part in chunks(x)):
            return levels
    return None


def check_finite(x: Images, name: str) -> None:
    """A UserError that begins with ``name`` if any value is NaN or infinite."""
    if not x.dtype.is_floating_point:
        return
    bad = sum(int((~part.isfinite()).sum()) for part in chunks(x))
    if bad:
        raise UserError(f"{name} has {bad} values that are NaN or infinite; every value must be finite.")


def _rows(rows: Tensor | None, index: Tensor) -> Tensor | None:
    return None if rows is None else rows[index]
