"""Gaussian pixels: with a fixed, a learned or a predicted standard deviation."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vaelab.functional.distributions import LOG_2PI, normal_log_prob
from vaelab.models.likelihoods.base import (
    LearnedScale,
    Likelihood,
    inverse_soft_floor,
    smoothed_mean,
    soft_floor,
    sum_pixels,
)
from vaelab.models.numbers import register_number, scalar

TINY = 1e-6  # of the standard deviation of constant images


class Gaussian(Likelihood):
    """p(x|z) = prod_i N(x_i; decoded_i, sigma^2) with a fixed standard deviation ``sigma``.

    The distortion is squared error / (2 sigma^2) plus the constant D/2 log(2 pi sigma^2): halving sigma
    multiplies the weight of the error by four, exactly as dividing beta by four would.
    """

    sigma: Tensor

    def __init__(self, sigma: float) -> None:
        super().__init__()
        register_number(self, "sigma", sigma, above=0)

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        return from_error(squared_error(x, decoded), self.sigma.log(), pixels(decoded))

    def mean(self, decoded: Tensor) -> Tensor:
        return decoded

    def sample(self, decoded: Tensor, noise: Tensor) -> Tensor:
        return decoded + self.sigma * noise

    def constant(self, groups: Sequence[Tensor]) -> tuple[Likelihood, Tensor]:
        return self, means(groups)

    def curvature(self, decoded: Tensor) -> Tensor:
        return torch.ones_like(decoded) / self.sigma.square()

    def deviation(self) -> float:
        return self.sigma.item()

    def least_distortion(self, x: Tensor) -> Tensor:
        return -self.log_prob(x, x)


class LearnedGaussian(Likelihood):
    """p(x|z) = prod_i N(x_i; decoded_i, sigma^2) with one sigma for all pixels, learned: the sigma-VAE.

    "Simple and Effective VAE Training with Calibrated Decoders" (Rybkin, Daniilidis & Levine, 2021,
    arXiv:2006.13202). At the optimum sigma^2 is the mean squared error per pixel
    of the training images, z ~ q(z|x), and the balance of distortion and rate is learned rather than set.

    With ``optimal`` (the paper's "optimal sigma-VAE") training takes the sigma that is best for its batch,
    sigma*^2 = MSE, in closed form, so that the distortion is D/2 (log(2 pi MSE) + 1). It makes no difference
    whether the gradient goes through sigma*: there the derivative by sigma is zero. But a held-out batch
    must not set its own sigma: it would be no density any more, and would depend on the batch size. So
    ``sigma`` is learned all the while, by its own likelihood of the same errors, and is what images are
    measured with outside of training (``eval()``). The price: training and held-out distortion are not of
    the same sigma until it has caught up.

    Args:
        sigma: where it starts. Rather too large than too small: Adam long remembers the gradients of the
            latter, which grow as 1 / sigma^2.
        optimal: whether training takes the batch's own.
    """

    def __init__(self, sigma: float = 1.0, optimal: bool = False) -> None:
        super().__init__()
        self.sigma = LearnedScale("sigma", sigma)
        self.optimal = optimal

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        error, number = squared_error(x, decoded), pixels(decoded)
        if not (self.optimal and self.training):
            return from_error(error, self.sigma.log(), number)
        best = 0.5 * (error.mean() / number).log()
        learning = from_error(error.detach(), self.sigma.log(), number)
        return from_error(error, best, number) + learning - learning.detach()  # sigma learns; the value stays

    def mean(self, decoded: Tensor) -> Tensor:
        return decoded

    def sample(self, decoded: Tensor, noise: Tensor) -> Tensor:
        return decoded + self.sigma() * noise

    def constant(self, groups: Sequence[Tensor]) -> tuple[Likelihood, Tensor]:
        errors = sum(float(x.var(0, correction=0).mean()) * len(x) for x in groups)
        return Gaussian(max(math.sqrt(errors / sum(map(len, groups))), TINY)), means(groups)

    def deviation(self) -> float:
        return self.sigma().item()


class PredictedGaussian(Likelihood):
    """p(x|z) = prod_i N(x_i; mu_i, sigma_i^2): the decoder gives two maps a channel, mu and log sigma.

    Args:
        sigma: what an output of 0, where networks start, stands for.
        least: no sigma is smaller, else pixels that never change would be worth infinitely much. The default
            is half a grey level of 256.
    """

    parameters_per_channel = 2
    start: Tensor
    least: Tensor

    def __init__(self, sigma: float = 1.0, least: float = 0.002) -> None:
        super().__init__()
        self.register_buffer("start", scalar("sigma", sigma, above=0).log(), persistent=False)
        self.register_buffer("least", scalar("least", least, above=0).log(), persistent=False)

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        loc, log_sigma = self._split(decoded)
        return sum_pixels(normal_log_prob(x, loc, 2 * log_sigma))

    def _split(self, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log sigma."""
        loc, output = decoded.chunk(2, dim=-3)
        return loc, soft_floor(self.start + output, self.least)

    def mean(self, decoded: Tensor) -> Tensor:
        return self._split(decoded)[0]

    def sample(self, decoded: Tensor, noise: Tensor) -> Tensor:
        loc, log_sigma = self._split(decoded)
        return loc + log_sigma.exp() * noise

    def constant(self, groups: Sequence[Tensor]) -> tuple[Likelihood, Tensor]:
        return self, torch.stack([self._constant(x) for x in groups])

    def deviation(self) -> float:
        return self.start.exp().item()

    def _constant(self, x: Tensor) -> Tensor:
        loc = smoothed_mean(x)
        squares = (x - loc).square()
        variance = (squares.sum(0) + (x.mean() - loc).square() + x.var(correction=0)) / (len(x) + 1)
        output = inverse_soft_floor(0.5 * variance.log(), self.least) - self.start
        return torch.cat([loc, output], dim=-3)


def squared_error(x: Tensor, loc: Tensor) -> Tensor:
    """|x - loc|^2, summed over pixels."""
    return sum_pixels((x - loc).square())


def means(groups: Sequence[Tensor]) -> Tensor:
    """The mean image of each group (N_k, C, H, W), in float64: (K, C, H, W)."""
    return torch.stack([x.mean(0, dtype=torch.float64) for x in groups])


def pixels(images: Tensor) -> int:
    """C * H * W."""
    return math.prod(images.shape[-3:])


def from_error(error: Tensor, log_sigma: Tensor, number: int) -> Tensor:
    """log N(x; loc, sigma^2 I) in ``number`` dimensions from error = |x - loc|^2."""
    return -0.5 * (error * torch.exp(-2 * log_sigma) + number * (LOG_2PI + 2 * log_sigma))
