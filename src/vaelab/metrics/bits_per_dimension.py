"""The ELBO in bits per dimension, where it bounds a probability of the images."""

import torch
from torch import Tensor
from torchmetrics import Metric

from vaelab.functional.measures import bits_per_dimension

__all__ = ["BitsPerDimension"]


class BitsPerDimension(Metric):
    """-ELBO / (C H W ln 2), the mean over images: how many bits a channel of a pixel costs, at most.

    It is comparable with a compressor's only where p(x|z) is a probability of discrete images: binary ones
    under ``bernoulli``, 8-bit ones under ``discretized_logistic``. If any image of the split is not discrete,
    as grey ones under ``bernoulli`` or all under a density, or if the rate is undefined, it is NaN.
    """

    full_state_update = False
    nats: Tensor
    dimensions: Tensor
    undefined: Tensor

    def __init__(self) -> None:
        super().__init__()
        for state in ("nats", "dimensions", "undefined"):
            self.add_state(state, torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, x: Tensor, rate: Tensor, distortion: Tensor, discrete: Tensor) -> None:
        """x (B, C, H, W), rate (B,), distortion (S, B); discrete (), bool: see ``Likelihood.discrete``."""
        self.nats += (rate + distortion.mean(0)).sum()
        self.dimensions += x.numel()
        self.undefined += ~discrete

    def compute(self) -> Tensor:
        bits = bits_per_dimension(self.nats, self.dimensions)
        return torch.where(self.undefined > 0, torch.nan, bits)
