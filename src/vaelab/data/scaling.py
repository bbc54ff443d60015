"""Scaling of images and tables by statistics of the training images: standardised, or from 0 to 1.

============  =============================================================================
none          values as they are
standardize   (x - mean) / standard deviation
minmax        (x - least) / (greatest - least); held-out values may leave [0, 1]
============  =============================================================================

There is one mean, and so on, for each channel of images, and one for each column of a table, images of shape
(1, 1, F).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from vaelab.functional.images import Images, chunks, to_float

__all__ = ["MODES", "Scaling"]

MODES = ("none", "standardize", "minmax")
DIGITS = 6  # of means and deviations, counted from the first of the deviation


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
        others = (0, 1, 2) if _is_table(x.shape) else (0, 2, 3)  # dimensions that are reduced

        def of_parts(function: Callable[[Tensor], Tensor]) -> Tensor:
            return torch.stack([function(to_float(part).double()) for part in chunks(x)])

        if mode == "minmax":
            shift = of_parts(lambda part: part.amin(others)).amin(0)
            spread = of_parts(lambda part: part.amax(others)).amax(0) - shift  # exact: 0 and 1 are reached
        else:
            number = math.prod(x.shape[i] for i in others)
            shift = of_parts(lambda part: part.sum(others)).sum(0) / number
            centre = _along(shift, x.shape)
            spread = (of_parts(lambda part: (part - centre).square().sum(others)).sum(0) / number).sqrt()
            shift, spread = rounded(shift, spread), rounded(spread, spread)
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


def rounded(values: Tensor, spread: Tensor) -> Tensor:
    """Numbers (G,) to DIGITS digits of their spread (G,), so that they don't depend on the order of sums."""
    places = [DIGITS - math.floor(math.log10(s)) if s > 0 else DIGITS for s in spread.tolist()]
    return values.new_tensor([round(v, place) for v, place in zip(values.tolist(), places, strict=True)])


def _is_table(shape: Sequence[int]) -> bool:
    """Whether images (..., C, H, W) are the rows of a table."""
    return tuple(shape[-3:-1]) == (1, 1)


def _along(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Values (G,) as they are broadcast with images of this shape."""
    return values if _is_table(shape) else values[:, None, None]
