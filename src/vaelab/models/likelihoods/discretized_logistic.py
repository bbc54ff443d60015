"""8-bit pixels: a logistic distribution cut into 256 bins, so that bits per dimension are defined."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vaelab.functional.images import on_grid
from vaelab.functional.logistic_fit import fit_discretized_logistic
from vaelab.models.likelihoods.base import (
    LearnedScale,
    Likelihood,
    inverse_soft_floor,
    soft_floor,
    sum_pixels,
    unit_mean,
)
from vaelab.models.numbers import scalar

LEVELS = 256
HALF = 0.5 / (LEVELS - 1)  # half a bin
LEAST_LOG_SCALE = -8.0  # a tenth of a bin: a predicted scale below it says nothing more
LEAST_SHARED_SCALE = 1e-5  # of constant images: all of the mass is in one bin


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

    def constant(self, groups: Sequence[Tensor]) -> tuple[Likelihood, Tensor]:
        """Each pixel by itself, from its histogram, by Newton's method: the problem is convex."""
        image_shape = groups[0].shape[1:]
        if self.per_pixel:
            thetas = []
            for x in groups:
                loc, log_scale = fit_discretized_logistic(smoothed_histograms(x), math.exp(-LEAST_LOG_SCALE))
                output = inverse_soft_floor(log_scale, LEAST_LOG_SCALE) - self.start
                thetas.append(torch.cat([part.reshape(image_shape) for part in (loc, output)], dim=-3))
            return self, torch.stack(thetas)
        counts = torch.cat([smoothed_histograms(x) for x in groups])
        loc, log_scale = fit_discretized_logistic(counts, 1 / LEAST_SHARED_SCALE, shared=True)
        return DiscretizedLogistic(log_scale.exp().item()), loc.reshape(-1, *image_shape)

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


def smoothed_histograms(x: Tensor, images: int = 512) -> Tensor:
    """How often each pixel of x (N, C, H, W) has each level, (C H W, 256), in one more image as well.

    The further image has everywhere the mean of all pixels, shared between the two levels beside it.
    """
    pixels = x[0].numel()
    places = torch.arange(pixels, device=x.device) * LEVELS
    counts = torch.zeros(pixels * LEVELS, device=x.device)
    for part in x.split(images):
        level = (part.flatten(1) * (LEVELS - 1)).round().long().clamp(0, LEVELS - 1)
        counts += torch.bincount((places + level).flatten(), minlength=len(counts))
    counts = counts.reshape(pixels, LEVELS).double()
    mean = unit_mean(x) * (LEVELS - 1)
    below = min(int(mean), LEVELS - 2)
    counts[:, below] += 1 - (mean - below)
    counts[:, below + 1] += mean - below
    return counts


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
