"""What an autoencoder asks of p(x|z), and what the likelihoods share."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaelab.models.numbers import scalar

__all__ = [
    "LearnedScale",
    "Likelihood",
    "check_unit_interval",
    "inverse_soft_floor",
    "smoothed_mean",
    "smoothed_unit_mean",
    "soft_floor",
    "sum_pixels",
    "unit_mean",
]


def sum_pixels(values: Tensor) -> Tensor:
    """(..., C, H, W) -> (...): nats per pixel become nats per image. A mean here would rescale beta."""
    return values.flatten(-3).sum(-1)


class LearnedScale(nn.Module):
    """One learned scale, a positive 0-dim number: ``forward()`` gives it, ``log()`` its logarithm.

    The logarithm is kept divided by SPEED: a step of Adam is as large as its learning rate whatever the
    gradient, so the scale moves by SPEED times that share, 1% a step at 1e-3. One number among a network's
    weights would otherwise be the last to arrive.

    Raises:
        ValueError: names ``name`` if ``start`` is not > 0.
    """

    SPEED = 10.0

    def __init__(self, name: str, start: float) -> None:
        super().__init__()
        self.raw = nn.Parameter(scalar(name, start, above=0).log() / self.SPEED)

    def log(self) -> Tensor:
        return self.SPEED * self.raw

    def forward(self) -> Tensor:
        return self.log().exp()

    def reading(self, step: int | Tensor) -> Tensor:
        """What is logged, as ``train/likelihood_sigma`` or wherever it stands."""
        return self()


def soft_floor(values: Tensor, least: Tensor | float) -> Tensor:
    """least + softplus(values - least): never below ``least``, and ``values`` itself well above it.

    It keeps a log scale that the decoder predicts from running away on pixels that never change (Chua et al.,
    2018; Rybkin et al., 2021).
    """
    return least + F.softplus(values - least)


def inverse_soft_floor(values: Tensor, least: Tensor | float) -> Tensor:
    """The argument of :func:`soft_floor` that gives ``values``, which are above ``least``."""
    above = (values - least).clamp(min=1e-6)
    return least + above + torch.log(-torch.expm1(-above))


class Likelihood(nn.Module):
    """What an autoencoder asks of p(x|z). The decoder gives ``parameters_per_channel`` maps a channel."""

    parameters_per_channel = 1

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """log p(x|z): x (B, C, H, W), decoded (S, B, C', H, W) -> (S, B), in nats, summed over pixels."""
        raise NotImplementedError

    def mean(self, decoded: Tensor) -> Tensor:
        """E[x|z], pixel by pixel: (..., C', H, W) -> (..., C, H, W)."""
        raise NotImplementedError

    def sample(self, decoded: Tensor, noise: Tensor) -> Tensor:
        """x ~ p(x|z), (..., C, H, W): decoded (..., C', H, W), standard normal noise (..., C, H, W)."""
        raise NotImplementedError

    def check(self, low: float, high: float, levels: int | None = None) -> None:
        """Raise a ValueError if the data do not fit. Any finite data do here.

        Args:
            low, high: the least and the greatest value.
            levels: L if every value is one of 0, 1/(L-1), ..., 1 (:func:`vaelab.data.images.grey_levels`).
        """

    def constant(self, groups: Sequence[Tensor]) -> tuple["Likelihood", Tensor]:
        """The best outputs of a decoder that ignores z: the end of a rate-distortion curve with rate 0.

        argmax over theta_1, ..., theta_K, each (C', H, W), of the sum of log p(x|theta_k) over the images x
        of each group; the one scale of a likelihood that learns one is maximised over too. Where a pixel that
        never changes would get infinite parameters, one image that has everywhere the mean of all pixels is
        added to each group (:func:`smoothed_mean`).

        Args:
            groups: K sets of images (N_k, C, H, W) that the decoder can tell apart without z: those of each
                label for a conditional model, else a single one.

        Returns:
            the likelihood with that scale, and theta (K, C', H, W), in float64.
        """
        raise NotImplementedError

    def least_distortion(self, x: Tensor) -> Tensor:
        """min over theta of -log p(x|theta) for each image, (N,): of a perfect reconstruction.

        -inf where a learned variance, or the density of a constant pixel, has no bound.
        """
        return torch.full((len(x),), -torch.inf, dtype=x.dtype)

    def curvature(self, decoded: Tensor) -> Tensor | None:
        """-d^2 log p(x|z) / d decoded^2, pixel by pixel, where it is the same for every x: (..., C, H, W).

        It is there for a likelihood with one parameter a pixel that belongs to an exponential family and has
        nothing to learn. None for others: they have no plan (:mod:`vaelab.training.plan`).
        """
        return None

    def deviation(self) -> float | None:
        """The standard deviation of a pixel under p(x|z) when training starts, in the data's units.

        None where it is no setting, since the range of the pixels is.
        """
        return None

    def discrete(self, x: Tensor) -> Tensor:
        """() bool: is p(x|z) of these images a probability? Only then are bits per dimension defined.

        A density, or a Bernoulli likelihood of grey pixels, is none.
        """
        return torch.zeros((), dtype=torch.bool, device=x.device)


def smoothed_mean(x: Tensor) -> Tensor:
    """The mean image of x (N, C, H, W) and one more image, whose pixels are the mean of all: (C, H, W).

    A pixel that was 0 in N images is not taken to be 0 in all others. In float64.
    """
    total = x.sum(0, dtype=torch.float64)
    return (total + total.mean() / len(x)) / (len(x) + 1)


def smoothed_unit_mean(x: Tensor) -> Tensor:
    """:func:`smoothed_mean` of pixels in [0, 1], within (0, 1) even where all of them are 0, or 1.

    The mean of all pixels, which the further image has, counts one more pixel, of value 1/2.
    """
    total = x.clamp(0, 1).sum(0, dtype=torch.float64)
    return (total + unit_mean(x)) / (len(x) + 1)


def unit_mean(x: Tensor) -> float:
    """The mean of all pixels, in [0, 1], and one more of value 1/2: within (0, 1)."""
    return (x.clamp(0, 1).sum(dtype=torch.float64).item() + 0.5) / (x.numel() + 1)


ROUNDING = 1e-6


def check_unit_interval(name: str, low: float, high: float) -> None:
    """Raise a ValueError if values from ``low`` to ``high`` leave [0, 1] by more than float32 rounds."""
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(f"{name} needs pixels in [0, 1], the data lie in [{low:.9g}, {high:.9g}]")
