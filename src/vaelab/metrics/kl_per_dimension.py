"""The rate, dimension by dimension."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from vaelab.functional.measures import sums_by_group

__all__ = ["KLPerDimension"]


class KLPerDimension(Metric):
    """KL_d = mean over images of KL(q(z_d|x) || p(z_d)), (D,), in nats; they sum to the rate.

    Of latent maps (C, h, w) also ``kl_per_channel``, (C,): the sums over the places of each channel.

    Args:
        groups: sums over groups of dimensions, (G,), in place of the dimensions.
    """

    full_state_update = False
    kl: Tensor
    count: Tensor

    def __init__(
        self, latent_dim: int, latent_shape: Sequence[int] = (), groups: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.groups = groups
        self.channels = latent_shape[0] if len(latent_shape) > 1 else None
        self.add_state("kl", torch.zeros(latent_dim), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, kl: Tensor) -> None:
        """kl (B, D)."""
        self.kl += kl.sum(0)
        self.count += len(kl)

    def compute(self) -> Tensor | dict[str, Tensor]:
        mean = self.kl / self.count
        if self.groups is not None:
            return sums_by_group(mean, self.groups)
        if self.channels is None:
            return mean
        return {"kl_per_dim": mean, "kl_per_channel": mean.reshape(self.channels, -1).sum(-1)}
