"""Scaling of images and tables by statistics of the training images: standardised, or from 0 to 1.

============  =============================================================================
none          values as they are
standardize   (x - mean) / standard deviation
minmax        (x - least) / (greatest - least); held-out values may leave [0, 1]
============  =============================================================================

There is one mean, and so on, for each channel of images, and one for each column of a table, images of shape
(1, 1, F). Images that are read or rendered when they are indexed are read once for these numbers, stay as
they are, and are scaled when they are indexed.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from vaelab.data.images import ChangedImages
from vaelab.functional.images import Images, chunks, map_images, to_float

__all__ = ["MODES", "Scaled", "Scaling", "scaled"]

MODES = ("none", "standardize", "minmax")
DIGITS = 6  # of means and deviations, counted from the first of the deviation
MOST = 2**20  # numbers that are taken at once, to bound the memory for 64 bits


class Scaling(NamedTuple):
    """x -> (x - shift) / spread, with a shift and a spread for each of G channels or columns."""

    mode: str
    shift: Sequence[float]  # (G,)
    spread: Sequence[float]  # (G,)  1 where all values are equal

    @classmethod
    def of(cls, mode: str, x: Images) -> Self | None:
        """The scaling ``mode`` of the images x (N, C, H, W), which are those of training; None for "none".

        Raises:
            ValueError: beginning with "scale", if ``mode`` is none of MODES.
        """
        if mode not in MODES:
            raise ValueError(f"scale must be one of {', '.join(MODES)}, got {mode!r}")
        if mode == "none":
            return None
        shift, spread = limits(x) if mode == "minmax" else moments(x)
        spread = torch.where(spread > 0, spread, 1.0)
        return cls(mode, shift.tolist(), spread.tolist())

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any] | None) -> Self | None:
        return None if plain is None else cls(**plain)

    def plain(self) -> dict[str, Any]:
        """As plain types, for the record and the checkpoint."""
        return {"mode": self.mode, "shift": list(self.shift), "spread": list(self.spread)}

    def apply(self, x: Tensor) -> Tensor:
        """Images (..., C, H, W) in the units of the data -> scaled ones, float32."""
        shift, spread = (_along(x.new_tensor(v, dtype=torch.float64), x.shape) for v in self[1:])
        return ((to_float(x).double() - shift) / spread).float()

    def undo(self, x: Tensor) -> Tensor:
        """Scaled images (..., C, H, W) -> images in the units of the data."""
        shift, spread = (_along(x.new_tensor(v), x.shape) for v in self[1:])
        return x * spread + shift


@dataclass(frozen=True, eq=False)
class Scaled(ChangedImages):
    """Lazy images, scaled when they are indexed."""

    scaling: Scaling
    dtype: ClassVar[torch.dtype] = torch.float32

    def __getitem__(self, index: Tensor) -> Tensor:
        x = torch.empty((len(index), *self.shape[1:]))
        at_once = _length(self.shape)
        for rows, positions in zip(x.split(at_once), index.split(at_once), strict=True):
            rows.copy_(self.scaling.apply(self.images[positions]))
        return x


def scaled(x: Images, scaling: Scaling) -> Images:
    """The images x scaled: at once if they are in memory, others when they are indexed."""
    return map_images(x, scaling.apply) if isinstance(x, Tensor) else Scaled(x, scaling)


# the statistics, each in one pass


def limits(x: Images) -> tuple[Tensor, Tensor]:
    """The least value of each channel or column (G,), and the greatest less it: 0 and 1 are then reached."""
    others, parts = _others(x.shape), _floats(x)
    first = next(parts)
    least, greatest = first.amin(others), first.amax(others)
    for part in parts:
        least, greatest = least.minimum(part.amin(others)), greatest.maximum(part.amax(others))
    return least.double(), greatest.double() - least.double()


def moments(x: Images) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel or column, (G,), to DIGITS digits of the deviation.

    Means and sums of squares about them are updated by parts, as in "Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances" (Chan, Golub and LeVeque, 1979). They are rounded so that they
    don't depend on the parts.
    """
    others, number = _others(x.shape), 0
    mean = squares = torch.zeros((), dtype=torch.float64)
    for part in _floats(x):
        values = part.double()
        new = math.prod(values.shape[i] for i in others)
        centre = values.sum(others) / new
        change = centre - mean
        squares = squares + (values - _along(centre, x.shape)).square().sum(others)
        squares = squares + change.square() * (number * new / (number + new))
        mean, number = mean + change * (new / (number + new)), number + new
    spread = (squares / number).sqrt()
    return rounded(mean, spread), rounded(spread, spread)


def rounded(values: Tensor, spread: Tensor) -> Tensor:
    """Numbers (G,) to DIGITS digits of their spread (G,), so that they don't depend on the order of sums."""
    places = [DIGITS - math.floor(math.log10(s)) if s > 0 else DIGITS for s in spread.tolist()]
    return values.new_tensor([round(v, place) for v, place in zip(values.tolist(), places, strict=True)])


def _floats(x: Images) -> Iterator[Tensor]:
    """The images in order as float32, at most MOST numbers or one image at a time."""
    for part in chunks(x):
        yield from map(to_float, part.split(_length(x.shape)))


def _length(shape: Sequence[int]) -> int:
    """How many images (N, C, H, W) are taken at once."""
    return max(1, MOST // math.prod(shape[1:]))


def _others(shape: Sequence[int]) -> tuple[int, ...]:
    """The dimensions of images (N, C, H, W) that are reduced."""
    return (0, 1, 2) if _is_table(shape) else (0, 2, 3)


def _is_table(shape: Sequence[int]) -> bool:
    """Whether images (..., C, H, W) are the rows of a table."""
    return tuple(shape[-3:-1]) == (1, 1)


def _along(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Values (G,) as they are broadcast with images of this shape."""
    return values if _is_table(shape) else values[:, None, None]
