"""Likelihoods p(x|z): from the decoder's output to log p(x|z), a mean image and a sample."""

import math

import torch
from torch import Tensor, nn

from vaelab.distributions import LOG_2PI, bernoulli_cross_entropy
from vaelab.errors import UserError


def sum_pixels(values: Tensor) -> Tensor:
    """(..., C, H, W) -> (...): nats per pixel become nats per image. A mean here would rescale beta."""
    return values.flatten(-3).sum(-1)


class Likelihood(nn.Module):
    """What an autoencoder asks of p(x|z). The decoder gives ``parameters_per_channel`` maps a channel."""

    parameters_per_channel = 1

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """log p(x|z): x (B, C, H, W), decoded (S, B, C', H, W) -> (S, B), in nats, summed over pixels."""
        raise NotImplementedError

    def mean(self, decoded: Tensor) -> Tensor:
        """E[x|z], pixel by pixel: (..., C', H, W) -> (..., C, H, W)."""
        raise NotImplementedError

    def check(self, low: float, high: float) -> None:
        """A UserError if data with values from ``low`` to ``high`` do not fit. Any finite data do here."""


class Bernoulli(Likelihood):
    """p(x|z) = prod_i Bernoulli(x_i; sigmoid(logit_i)) for pixels in [0, 1].

    Grey pixels are allowed, as the literature does, and then even a perfect reconstruction costs the
    entropy of the image; ``data.binarize`` gives images for which this is a proper likelihood.
    """

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        # minus after the sum, not before: a pass over the pixels less in each direction
        return -sum_pixels(bernoulli_cross_entropy(x.expand_as(decoded), decoded))

    def mean(self, decoded: Tensor) -> Tensor:
        return decoded.sigmoid()

    def check(self, low: float, high: float) -> None:
        if low < 0 or high > 1:
            raise UserError(
                f"likelihood=bernoulli needs pixels in [0, 1], the data lie in [{low:g}, {high:g}]. "
                "Use likelihood=gaussian, or rescale the data."
            )


class Gaussian(Likelihood):
    """p(x|z) = prod_i N(x_i; decoded_i, sigma^2) with a fixed standard deviation ``sigma``.

    The distortion is squared error / (2 sigma^2) plus the constant D/2 log(2 pi sigma^2): halving sigma
    multiplies the weight of the error by four, exactly as dividing beta by four would.
    """

    sigma: Tensor

    def __init__(self, sigma: float) -> None:
        super().__init__()
        if not (sigma > 0 and math.isfinite(sigma)):
            raise UserError(f"likelihood.sigma must be a number above 0, got {sigma}.")
        self.register_buffer("sigma", torch.tensor(float(sigma)), persistent=False)

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        error = sum_pixels((x - decoded).square())
        pixels = math.prod(decoded.shape[-3:])
        return -0.5 * (error / self.sigma.square() + pixels * (LOG_2PI + 2 * self.sigma.log()))

    def mean(self, decoded: Tensor) -> Tensor:
        return decoded
