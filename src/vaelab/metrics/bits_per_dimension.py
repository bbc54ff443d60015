"""The ELBO in bits per dimension, where it bounds a probability of the images."""

import math

import torch
from torch import Tensor
from torchmetrics import Metric


def bits_per_dimension(nats: Tensor, dimensions: Tensor | int) -> Tensor:
    """nats / (dimensions ln 2): ``dimensions`` is C H W for the nats of one image."""
    return nats / (dimensions * math.log(2))


class BitsPerDimension(Metric):
    """-ELBO / (C H W ln 2), the mean over images: how many bits a channel of a pixel costs, at most.

    It compares with a compressor's only where p(x|z) is a probability of discrete images: binary ones under
    ``bernoulli``, 8-bit ones under ``discretized_logistic``. If any image of the split is not, as grey ones
    under ``bernoulli`` or all under a density, it is undefined: NaN; and where the rate is.
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
