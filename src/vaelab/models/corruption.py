"""Corruptions of the encoder's input: what a denoising autoencoder is trained to undo.

The encoder sees a corrupted image x~ ~ c(x~|x), and the distortion is against the clean x: "Extracting and
Composing Robust Features with Denoising Autoencoders" (Vincent et al., ICML 2008). The names of the three
corruptions are those of "Stacked Denoising Autoencoders" (Vincent et al., JMLR 2010), section 4.1. With a
stochastic posterior it is the denoising VAE: "Denoising Criterion for Variational Auto-Encoding Framework"
(Im et al., 2017, arXiv:1511.06406).

A corruption is a pure function of the images and of standard normal noise of their shape. Where no such
noise is given (validation, test, pictures), images stay clean: see :class:`~vaelab.types.Noise`.
"""

import torch
from torch import Tensor, nn

from vaelab.functional.randomness import uniform
from vaelab.models.numbers import register_number

__all__ = ["Corruption", "GaussianNoise", "MaskingNoise", "SaltAndPepperNoise"]


class Corruption(nn.Module):
    """What an autoencoder asks of c(x~|x)."""

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Clean images (B, C, H, W) and standard normal noise of that shape -> corrupted images."""
        raise NotImplementedError


class GaussianNoise(Corruption):
    """x~ = x + sigma * noise, not clipped to the data's range; ``sigma`` >= 0 in the data's units."""

    sigma: Tensor

    def __init__(self, sigma: float) -> None:
        super().__init__()
        register_number(self, "sigma", sigma, least=0)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + self.sigma * noise


class MaskingNoise(Corruption):
    """Each number of an image becomes 0 with probability ``share``, independently of the others.

    Vincent et al. (2008) set a fixed number of them to 0; here the number is binomial, with that mean.
    """

    share: Tensor

    def __init__(self, share: float) -> None:
        super().__init__()
        register_number(self, "share", share, least=0, most=1)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return torch.where(uniform(noise) < self.share, torch.zeros_like(x), x)


class SaltAndPepperNoise(Corruption):
    """Each number becomes ``low`` or ``high``, with probability ``share`` / 2 each."""

    share: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, share: float, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        register_number(self, "share", share, least=0, most=1)
        if not low < high:
            raise ValueError(f"low must be below high, got {low} and {high}")
        register_number(self, "low", low)
        register_number(self, "high", high)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        u = uniform(noise)
        salted = torch.where(u > 1 - self.share / 2, self.high.to(x), x)
        return torch.where(u < self.share / 2, self.low.to(x), salted)
