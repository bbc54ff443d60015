"""The rate, dimension by dimension."""

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["KLPerDimension"]


class KLPerDimension(Metric):
    """KL_d = mean over images of KL(q(z_d|x) || p(z_d)), (D,), in nats; they sum to the rate."""

    full_state_update = False
    kl: Tensor
    count: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.add_state("kl", torch.zeros(latent_dim), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, kl: Tensor) -> None:
        """kl (B, D)."""
        self.kl += kl.sum(0)
        self.count += len(kl)

    def compute(self) -> Tensor:
        return self.kl / self.count
