"""Laplace pixels: the absolute error."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vaelab.models.likelihoods.base import Likelihood, sum_pixels
from vaelab.models.numbers import register_number


class Laplace(Likelihood):
    """p(x|z) = prod_i exp(-|x_i - decoded_i| / b) / (2b) with a fixed ``scale`` b.

    The distortion is the absolute error / b plus the constant D log(2b); the standard deviation is
    sqrt(2) b. ``decoded`` is the mean and the median.
    """

    scale: Tensor

    def __init__(self, scale: float) -> None:
        super().__init__()
        register_number(self, "scale", scale, above=0)

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        error = sum_pixels((x - decoded).abs())
        return -(error / self.scale + math.prod(decoded.shape[-3:]) * (2 * self.scale).log())

    def mean(self, decoded: Tensor) -> Tensor:
        return decoded

    def sample(self, decoded: Tensor, noise: Tensor) -> Tensor:
        # |x - mu| / b is exponential: -log of a uniform variable, here 2 Phi(-|noise|)
        size = -(math.log(2) + torch.special.log_ndtr(-noise.abs()))
        return decoded + self.scale * noise.sign() * size

    def constant(self, groups: Sequence[Tensor]) -> tuple[Likelihood, Tensor]:
        return self, torch.stack([x.median(0).values.double() for x in groups])

    def deviation(self) -> float:
        return math.sqrt(2) * self.scale.item()

    def least_distortion(self, x: Tensor) -> Tensor:
        return -self.log_prob(x, x)
