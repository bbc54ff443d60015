"""How far the reconstructions are from the images."""

import torch
from torch import Tensor
from torchmetrics import Metric

from vaelab.functional.measures import reconstruction_error

__all__ = ["ReconstructionError"]


class ReconstructionError(Metric):
    """Squared error per pixel between x and E[x|z], z ~ q(z|x): the mean over pixels, images and samples."""

    full_state_update = False
    error: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("error", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, x: Tensor, reconstruction: Tensor) -> None:
        """x (B, C, H, W), reconstruction (S, B, C, H, W)."""
        self.error += reconstruction_error(x, reconstruction).sum()
        self.count += len(x)

    def compute(self) -> Tensor:
        return self.error / self.count
