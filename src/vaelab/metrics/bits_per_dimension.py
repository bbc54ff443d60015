"""The ELBO in bits per dimension, where it bounds a probability of the images."""

from typing import Any

import torch
from torch import Tensor

from vaelab.functional.measures import bits_per_dimension
from vaelab.metrics.per_image import PerImage

__all__ = ["BitsPerDimension"]


class BitsPerDimension(PerImage):
    """-ELBO / (C H W ln 2), the mean over images: how many bits a channel of a pixel costs, at most.

    It is comparable with a compressor's only where p(x|z) is a probability of discrete images: binary ones
    under ``bernoulli``, 8-bit ones under ``discretized_logistic``. If any image of the split is not discrete,
    as grey ones under ``bernoulli`` or all under a density, or if the rate is undefined, it is NaN.
    ``bits_per_dimension_se`` is its standard error over images.
    """

    dimensions: Tensor
    undefined: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("dimensions", torch.tensor(0.0), dist_reduce_fx="max")
        self.add_state("undefined", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, x: Tensor, rate: Tensor, distortion: Tensor, discrete: Tensor, position: Tensor) -> None:
        """x (B, C, H, W), rate (B,), distortion (S, B); discrete (), bool: see ``Likelihood.discrete``;
        position (B,)."""
        self.dimensions.fill_(x[0].numel())
        self.undefined += ~discrete
        self.add(position, (rate + distortion.mean(0))[:, None])

    def refine(self, place: int, rate: Tensor, distortion: Tensor, **_: Any) -> None:  # type: ignore[override]
        self.average(place, (rate + distortion.mean(0))[:, None])

    def compute(self) -> dict[str, Tensor]:
        images = self.images()
        nats = {
            "bits_per_dimension": images.mean.mean(),
            "bits_per_dimension_se": images.standard_error.squeeze(),
        }
        return {
            name: torch.where(self.undefined > 0, torch.nan, bits_per_dimension(value, self.dimensions))
            for name, value in nats.items()
        }
