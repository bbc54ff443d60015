"""Beta as what encoder and decoder get beside the image: one training for the whole rate-distortion curve."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.functional.randomness import uniform
from vaelab.models.conditions import Unconditional
from vaelab.models.networks import Networks
from vaelab.models.networks.gates import gated
from vaelab.models.numbers import register_number, scalar
from vaelab.models.schedules import ConstantSchedule
from vaelab.types import LatentStats

__all__ = ["DrawnBeta", "RateCondition"]


class DrawnBeta(nn.Module):
    """The beta that an image is trained with in a step, as a weight: ``model.beta`` of a multi-rate model.

    Without images there is no such number: NaN.
    """

    def forward(self, step: int | Tensor) -> Tensor:
        return torch.tensor(math.nan)

    def of_images(self, step: int | Tensor, stats: LatentStats) -> Tensor:
        return stats.beta

    def fixed_at(self, log_beta: Tensor) -> nn.Module:
        return ConstantSchedule(math.exp(log_beta))


class RateCondition(Unconditional):
    """log beta, drawn for each training image: the condition of a multi-rate VAE.

    "Multi-Rate VAE: Train Once, Get the Full Rate-Distortion Curve" (Bae et al., ICLR 2023,
    arXiv:2212.03905). log beta is uniform between the logarithms of ``low`` and ``high``; it reaches the
    gates of both networks (:mod:`vaelab.models.networks.gates`) as one more channel of the image and one more
    number of z, and the objective as :class:`DrawnBeta`. The loss is the mean over images of D + beta R with
    the image's own beta: D falls as R rises, so the sum varies by less than either over the range, and no
    beta needs a weight.

    The draws of a batch are stratified: of B images, whose order is random, the i-th has the i-th of B equal
    parts of the range. Each image's own draw is as if it were alone, and every batch sees the whole curve.

    Terms that are statistics of the batch need a batch of a single beta: the model then draws one for all.

    Args:
        low, high: the ends of the range, 0 < low < high.
        betas: at which the trained model is measured, within the range.
        gates_lr_factor: the learning rate of the gates, in units of that of the weights.
        inner: what the networks get besides, such as labels.

    Raises:
        ValueError: the range is empty, or ``betas`` are none, repeated or outside of it.
    """

    provides = frozenset()
    needs = frozenset({"density", "independent dimensions"})  # mu and log sigma^2, which have a gate each
    draws = True
    log_low: Tensor
    log_high: Tensor

    def __init__(
        self,
        low: float,
        high: float,
        betas: Sequence[float],
        gates_lr_factor: float = 6.0,
        inner: Unconditional | None = None,
    ) -> None:
        super().__init__()
        scalar("low", low, above=0, below=high)
        register_number(self, "log_low", math.log(low))
        register_number(self, "log_high", math.log(high))
        scalar("gates_lr_factor", gates_lr_factor, above=0)
        outside = [beta for beta in betas if not low <= beta <= high]
        if not betas or outside or len(set(betas)) < len(betas):
            raise ValueError(f"betas must be different numbers from {low:g} to {high:g}, got {list(betas)}")
        self.low, self.high, self.betas = low, high, sorted(map(float, betas))
        self.lr_factor = gates_lr_factor
        self.inner = inner or Unconditional()
        self.channels, self.features = self.inner.channels, self.inner.features

    @property
    def default(self) -> float:
        """The beta where none is given: 1, or the middle of the range on a logarithmic scale."""
        return 1.0 if self.low <= 1 <= self.high else math.sqrt(self.low * self.high)

    def log_of(self, beta: float) -> Tensor:
        """log beta, (), a ValueError outside of the range."""
        if not self.low <= beta <= self.high:
            raise ValueError(
                f"beta must be from {self.low:g} to {self.high:g}, the range of the training, got {beta:g}"
            )
        return torch.tensor(math.log(beta))

    def networks(self, pair: Networks, image_shape: Sequence[int], latent_dim: int) -> Networks:
        options = {"lr_factor": self.lr_factor, "weight_decay": 0.0}
        return gated(pair, image_shape, latent_dim - self.features, self.features, options)

    def given(self, y: Tensor | None, noise: Tensor, alike: bool = False) -> tuple[Any, Tensor]:
        if not noise.numel():
            raise ValueError("a multi-rate model needs a beta: use at(beta=...)")
        share = uniform(noise)  # in 32 bits or more
        if alike:
            share = share[:1].expand_as(share)
        else:
            share = (torch.arange(len(share), device=share.device) + share) / len(share)
        log_beta = self.log_low.to(share) + share * (self.log_high - self.log_low).to(share)
        return (log_beta, y), log_beta.exp()

    def image(self, x: Tensor, y: Any) -> Tensor:
        log_beta, label = y
        x = self.inner.image(x, label)
        return torch.cat([x, log_beta[:, None, None, None].to(x).expand(-1, 1, *x.shape[-2:])], dim=1)

    def latent(self, z: Tensor, y: Any) -> Tensor:
        log_beta, label = y
        z = self.inner.latent(z, label)
        return torch.cat([z, log_beta[..., None].to(z).expand(*z.shape[:-1], 1)], dim=-1)

    def in_turn(self, n: int, device: torch.device | str = "cpu") -> Tensor | None:
        return self.inner.in_turn(n, device)

    def fixed_at(self, log_beta: Tensor) -> nn.Module:
        return self.inner
