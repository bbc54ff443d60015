"""Binarisation of grey images: four conventions, which make four data sets whose numbers are not comparable.

============  ===================================================================================
none          images as they are
threshold     x > 0.5, once
static        one Bernoulli(x) draw per image, once, the same in every run
dynamic       a new Bernoulli(x) draw for every training batch; held-out images take the static draw, so
              that their numbers are fixed
============  ===================================================================================

No convention changes images that are binary already (dtype bool): Bernoulli(0) is 0 and Bernoulli(1) is 1.
Images that are read or rendered when they are indexed stay so, and are binarised then: the static draw of one
is a function of its position alone.

Static: "The Neural Autoregressive Distribution Estimator" (Larochelle & Murray, 2011). Dynamic: "On the
Quantitative Analysis of Deep Belief Networks" (Salakhutdinov & Murray, 2008).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vaelab.data.images import ChangedImages
from vaelab.functional.images import Images, map_images, to_float, value_range
from vaelab.functional.randomness import generator

__all__ = ["MODES", "Binarized", "bernoulli", "binarize"]

MODES = ("none", "threshold", "static", "dynamic")


def bernoulli(x: Tensor, random: torch.Generator) -> Tensor:
    """A binary draw (bool) with the stored images ``x``, scaled to [0, 1], as its probabilities."""
    probability = to_float(x)
    return torch.rand(probability.shape, generator=random, device=probability.device) < probability


@dataclass(frozen=True, eq=False)
class Binarized(ChangedImages):
    """Lazy images, binarised when they are indexed.

    stream: of the draws, one of (0, stream, position) for each image; None for a threshold of 1/2.
    """

    stream: str | None
    dtype: ClassVar[torch.dtype] = torch.bool

    def __getitem__(self, index: Tensor) -> Tensor:
        x = to_float(self.images[index])
        if self.stream is None:
            return x > 0.5
        draws = torch.empty_like(x)
        for row, position in zip(draws, index.tolist(), strict=True):
            row.uniform_(generator=generator(0, self.stream, position))
        return draws < x


def binarize(x: Images, mode: str, stream: str) -> Images:
    """The images ``x`` binarised by ``mode``, as bool; "dynamic" gives the static draw of held-out images.

    ``stream`` names the set, so that two sets have different draws; the draws do not depend on a run's seed.
    Images in memory are binarised at once, others when they are indexed.

    Raises:
        ValueError: ``mode`` is none of MODES, or values to be binarised lie outside [0, 1].
    """
    if mode not in MODES:
        raise ValueError(f"binarize must be one of {', '.join(MODES)}, got {mode!r}")
    if mode == "none" or x.dtype == torch.bool:
        return x
    low, high = (0.0, 1.0) if x.dtype == torch.uint8 else value_range(x)
    if low < 0 or high > 1:
        raise ValueError(
            f"binarize={mode} needs values in [0, 1], but the images reach from {low:g} to {high:g}: "
            "scale the data, or take binarize=none"
        )
    if not isinstance(x, Tensor):
        return Binarized(x, None if mode == "threshold" else f"data/binarize/{stream}")
    if mode == "threshold":
        return map_images(x, lambda part: to_float(part) > 0.5)
    random = generator(0, f"data/binarize/{stream}")
    return map_images(x, lambda part: bernoulli(part, random))
