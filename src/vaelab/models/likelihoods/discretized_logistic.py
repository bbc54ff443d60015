"""8-bit pixels: a logistic distribution cut into 256 bins, so that bits per dimension are defined."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vaelab.functional.images import on_grid
from vaelab.models.likelihoods.base import (
    LearnedScale,
    Likelihood,
    inverse_soft_floor,
    smoothed_mean,
    soft_floor,
    sum_pixels,
)
from vaelab.models.numbers import scalar

LEVELS = 256
HALF = 0.5 / (LEVELS - 1)  # half a bin
FITTED = 2000  # images
LEAST_LOG_SCALE = -8.0  # a tenth of a bin: a predicted scale below it says nothing more


class DiscretizedLogistic(Likelihood):
    """P(x|z) = prod_i of the mass that a logistic distribution (mu_i, s) has in the bin of x_i.

    For x in {0, 1/255, ..., 1}: F((x + 1/510 - mu)/s) - F((x - 1/510 - mu)/s) with F the sigmoid, and the
    first and the last bin reach to infinity: one component of the mixtures of "PixelCNN++" (Salimans et al.,
    2017, arXiv:1701.05517), section 2.1. The 256 probabilities sum to one: no density, a distortion >= 0.

    Args:
        scale: where s starts; the standard deviation is pi/sqrt(3) s.
        per_pixel: the decoder gives two maps a channel, mu and log s; else one s is learned for all pixels.
    """

    start: Tensor

    def __init__(self, scale: float = 0.25, per_pixel: bool = False) -> None:
        super().__init__()
        self.per_pixel = per_pixel
        self.parameters_per_channel = 2 if per_pixel else 1
        if per_pixel:
            self.register_buffer("start", scalar("scale", scale, above=0).log(), persistent=False)
        else:
            self.scale = LearnedScale("scale", scale)

    def _split(self, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """mu, and log s for each pixel or for all."""
        if not self.per_pixel:
            return decoded, self.scale.log()
        loc, output = decoded.chunk(2, dim=-3)
        return loc, soft_floor(self.start + output, LEAST_LOG_SCALE)

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        return sum_pixels(discretized_logistic_log_prob(x, *self._split(decoded)))

    def mean(self, decoded: Tensor) -> Tensor:
        return clipped_logistic_mean(*self._split(decoded))

    def sample(self, decoded: Tensor, noise: Tensor) -> Tensor:
        loc, log_scale = self._split(decoded)
        logit = torch.special.log_ndtr(noise) - torch.special.log_ndtr(-noise)  # a standard logistic variable
        steps = LEVELS - 1
        return ((loc + log_scale.exp() * logit) * steps).round().clamp(0, steps) / steps

    def constant(self, x: Tensor) -> tuple[Likelihood, Tensor]:
        """By L-BFGS from the moments, on at most FITTED images: there is no closed form."""
        x = x[:FITTED]
        loc = smoothed_mean(x)
        spread = math.sqrt(3) / math.pi * (x - loc).square().mean(0 if self.per_pixel else None).sqrt()
        least = inverse_soft_floor(spread.clamp(min=2 * HALF).log(), LEAST_LOG_SCALE)
        scale = (least - self.start if self.per_pixel else spread.clamp(min=2 * HALF).log()).requires_grad_()
        loc = loc.requires_grad_()
        optimizer = torch.optim.LBFGS([loc, scale], max_iter=30, line_search_fn="strong_wolfe")

        def split() -> tuple[Tensor, Tensor]:
            return (loc, soft_floor(self.start + scale, LEAST_LOG_SCALE) if self.per_pixel else scale)

        def distortion() -> Tensor:
            optimizer.zero_grad()
            value = -sum_pixels(discretized_logistic_log_prob(x, *split())).mean()
            value.backward()
            return value

        with torch.enable_grad():
            optimizer.step(distortion)
        if self.per_pixel:
            return self, torch.cat([loc, scale], dim=-3).detach()
        return DiscretizedLogistic(float(scale.detach().exp())), loc.detach()

    def least_distortion(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x))  # all of the mass in the pixel's own bin, in the limit of small scales

    def check(self, low: float, high: float, levels: int | None = None) -> None:
        if levels not in (2, LEVELS):  # black and white are grey levels too
            raise ValueError(
                "a discretized logistic likelihood needs 8-bit images, of values k/255 in [0, 1]; the data "
                f"lie in [{low:g}, {high:g}] and hold others"
            )

    def discrete(self, x: Tensor) -> Tensor:
        return on_grid(x, LEVELS)


def discretized_logistic_log_prob(x: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    """log of the logistic distribution's mass in the bin of x, elementwise, for x in {0, 1/255, ..., 1}.

    F(b) - F(a) = F(b) F(-a) (1 - exp(-(b - a))): three factors whose logarithms are stable in both tails, and
    the third, of the bin's width alone, is left out at the edges together with the side that is open.
    """
    inverse = torch.exp(-log_scale)
    below = F.logsigmoid((x + HALF - loc) * inverse)  # log P(X < upper edge)
    above = F.logsigmoid((loc - x + HALF) * inverse)  # log P(X > lower edge)
    width = torch.log(-torch.expm1(-2 * HALF * inverse))
    first, last = x < HALF, x > 1 - HALF
    below = torch.where(last, 0.0, below)
    above = torch.where(first, 0.0, above)
    return below + above + torch.where(first | last, 0.0, width)


def clipped_logistic_mean(loc: Tensor, log_scale: Tensor) -> Tensor:
    """E[clip(X, 0, 1)] = s (softplus(mu/s) - softplus((mu - 1)/s)) for a logistic X.

    It is the mean before rounding to grey levels: within half of one of the mean after it, and far closer
    where s is more than a level, since the sum over levels is this integral by the midpoint rule.
    """
    scale = log_scale.exp()
    return scale * (F.softplus(loc / scale) - F.softplus((loc - 1) / scale))
