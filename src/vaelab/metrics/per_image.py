"""Numbers of each image, averaged over passes with other noise."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from vaelab.functional.measures import moments

__all__ = ["ImageValues", "PerImage"]


class ImageValues(NamedTuple):
    """V numbers of each of N images, in the order of the images in their split."""

    position: Tensor  # (N,)
    mean: Tensor  # (N, V)  over the passes
    variance: Tensor  # (N, V)  over the passes, divided by their number - 1; NaN of a single pass
    passes: Tensor  # (N,)

    @property
    def standard_error(self) -> Tensor:
        """Of the mean over images, (V,); NaN of a single image."""
        return moments(self.mean).standard_error

    @property
    def monte_carlo_error(self) -> Tensor:
        """The part of :attr:`standard_error` that more passes would take away, (V,)."""
        return (self.variance / self.passes[:, None]).mean(0).div(len(self.mean)).sqrt()


class PerImage(Metric):
    """A metric whose ``compute`` reads the means over passes of V numbers of each image.

    ``update`` calls :meth:`add` with the numbers of a batch. A metric of this kind also has a method
    ``refine(place, **stats)``, which gets the statistics of a further pass over the batch of the ``place``-th
    update and calls :meth:`average`. The numbers do not depend on the size of batches or on the processes.
    """

    full_state_update = False
    position: list[Tensor]
    mean: list[Tensor]
    squares: list[Tensor]
    passes: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for state in ("position", "mean", "squares", "passes"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def refine(self, place: int, **stats: Tensor) -> None:
        """Average the statistics of a further pass over the batch of the ``place``-th update."""
        raise NotImplementedError

    def add(self, position: Tensor, values: Tensor) -> None:
        """position (B,), values (B, V) of the first pass."""
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        self.position.append(position)
        self.mean.append(values)
        self.squares.append(torch.zeros_like(values))
        self.passes.append(torch.ones_like(values[:, 0]))

    def average(self, place: int, values: Tensor) -> None:
        """values (B, V) of a further pass over the images of the ``place``-th batch."""
        passes = self.passes[place] + 1
        before = self.mean[place]
        delta = values.to(before.dtype) - before
        mean = before + delta / passes[:, None]
        self.squares[place] = self.squares[place] + delta * (values - mean)
        self.mean[place], self.passes[place] = mean, passes

    def images(self) -> ImageValues:
        """The numbers of all images so far."""
        position, mean, squares, passes = map(
            dim_zero_cat, (self.position, self.mean, self.squares, self.passes)
        )
        order = position.argsort()
        further = (passes - 1)[:, None]
        variance = torch.where(further > 0, squares / further.clamp(min=1), torch.nan)
        return ImageValues(position[order], mean[order], variance[order], passes[order])
