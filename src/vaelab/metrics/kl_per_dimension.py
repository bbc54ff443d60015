"""The rate, dimension by dimension."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from vaelab.functional.measures import sums_by_group

__all__ = ["KLPerDimension"]


class KLPerDimension(Metric):
    """KL_d = mean over images of KL(q(z_d|x) || p(z_d)), (D,), in nats; they sum to the rate.

    Args:
        groups: sums over groups of dimensions, (G,), in place of the dimensions.
    """

    full_state_update = False
    kl: Tensor
    count: Tensor

    def __init__(self, latent_dim: int, groups: Sequence[int] | None = None) -> None:
        super().__init__()
        self.groups = groups
        self.add_state("kl", torch.zeros(latent_dim), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, kl: Tensor) -> None:
        """kl (B, D)."""
        self.kl += kl.sum(0)
        self.count += len(kl)

    def compute(self) -> Tensor:
        mean = self.kl / self.count
        return mean if self.groups is None else sums_by_group(mean, self.groups)
