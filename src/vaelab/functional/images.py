"""Stored images as numbers: their scale, range and grey levels, a chunk at a time."""

import math
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Images", "chunks", "grey_levels", "map_images", "on_grid", "to_float", "value_range"]

CHUNK = 4096  # images handled at once, to bound memory
MOST = 2**26  # numbers in them: 256 MB of float32


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


def to_float(x: Tensor) -> Tensor:
    """Stored images as float32: grey levels 0 to 255 become 0 to 1, binary images 0 or 1, floats stay.

    >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    return x.float().div_(255) if x.dtype == torch.uint8 else x.float()


def chunks(x: Images) -> Iterator[Tensor]:
    """The images in order, at most CHUNK at a time, so that no float copy of a whole set is ever needed."""
    length = min(CHUNK, max(1, MOST // max(1, math.prod(x.shape[1:]))))
    for start in range(0, len(x), length):
        yield x[torch.arange(start, min(start + length, len(x)))]


def map_images(x: Images, function: Callable[[Tensor], Tensor]) -> Tensor:
    """``function`` of all images, chunk by chunk in order, put together in memory."""
    return torch.cat([function(part) for part in chunks(x)])


def value_range(x: Images) -> tuple[float, float]:
    """The least and largest value after :func:`to_float`; (0, 1) for binary images, which are not read."""
    if x.dtype == torch.bool:
        return 0.0, 1.0
    limits = to_float(torch.stack([torch.stack(part.aminmax()) for part in chunks(x)]))
    return limits[:, 0].min().item(), limits[:, 1].max().item()


def on_grid(x: Tensor, levels: int) -> Tensor:
    """() bool: is every value one of 0, 1/(levels - 1), ..., 1, but for the rounding of float32?"""
    steps = levels - 1
    nearest = (x * steps).round().clamp(0, steps) / steps
    return ((x - nearest).abs() < 1e-6).all()


def grey_levels(x: Images) -> int | None:
    """2 for images of 0 and 1, 256 for those of k/255, None for others; bool and uint8 are not read."""
    if x.dtype in (torch.bool, torch.uint8):
        return 2 if x.dtype == torch.bool else 256
    for levels in (2, 256):
        if all(bool(on_grid(part, levels)) for part in chunks(x)):
            return levels
    return None
