"""Corruptions of the encoder's input: what a denoising autoencoder is trained to undo.

The encoder sees a corrupted image x~ ~ c(x~|x), the distortion is against the clean x (Vincent et al., 2008,
section 2.3, in whose names the three below are given in Vincent et al., 2010, section 4.1; Bengio et al.,
2013: to reconstruct x from x~ is to learn the data's distribution). With a stochastic posterior it is the
denoising VAE of Im et al. (2017).

A corruption is a pure function of the images and of standard normal noise of their shape. Where no such
noise is given (validation, test, pictures), images stay clean: see :class:`~vaelab.types.Noise`.
"""

import math

import torch
from torch import Tensor, nn

from vaelab.errors import UserError


class Corruption(nn.Module):
    """What an autoencoder asks of c(x~|x)."""

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Clean images (B, C, H, W) and standard normal noise of that shape -> corrupted images."""
        raise NotImplementedError


class GaussianNoise(Corruption):
    """x~ = x + sigma * noise, not clipped to the data's range; ``sigma`` in the data's units."""

    sigma: Tensor

    def __init__(self, sigma: float) -> None:
        super().__init__()
        if not (math.isfinite(sigma) and sigma >= 0):
            raise UserError(f"model.corruption.sigma must be a number >= 0, got {sigma}.")
        self.register_buffer("sigma", torch.tensor(float(sigma)), persistent=False)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + self.sigma * noise


class MaskingNoise(Corruption):
    """Each number of an image becomes 0 with probability ``share``, independently of the others.

    Vincent et al. (2008) set a fixed number of them to 0; here it is binomial, with that mean.
    """

    share: Tensor

    def __init__(self, share: float) -> None:
        super().__init__()
        _register_share(self, share)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return torch.where(uniform(noise) < self.share, torch.zeros_like(x), x)


class SaltAndPepperNoise(Corruption):
    """Each number becomes, with probability ``share``, ``low`` or ``high``, as a fair coin says."""

    share: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, share: float, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        _register_share(self, share)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UserError(f"model.corruption.low={low} must be below model.corruption.high={high}.")
        self.register_buffer("low", torch.tensor(float(low)), persistent=False)
        self.register_buffer("high", torch.tensor(float(high)), persistent=False)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        u = uniform(noise)
        salted = torch.where(u > 1 - self.share / 2, self.high.to(x), x)
        return torch.where(u < self.share / 2, self.low.to(x), salted)


def uniform(noise: Tensor) -> Tensor:
    """Standard normal noise -> uniform on [0, 1], by the normal's distribution function."""
    # in 32 bits at least: in 16, a share would be rounded to hundredths
    return torch.special.ndtr(noise.to(torch.promote_types(noise.dtype, torch.float32)))


def _register_share(module: nn.Module, share: float) -> None:
    if not 0 <= share <= 1:
        raise UserError(f"model.corruption.share must be a number from 0 to 1, got {share}.")
    module.register_buffer("share", torch.tensor(float(share)), persistent=False)
