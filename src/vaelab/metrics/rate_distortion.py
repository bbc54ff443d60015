"""Rate, distortion and ELBO over a data set."""

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["RateDistortion"]


class RateDistortion(Metric):
    """R = mean KL(q(z|x) || p(z)), D = mean E_q[-log p(x|z)] and ELBO = -(R + D), always with beta = 1.

    Sums over pixels, latent dimensions and nothing else; means over images (and over the samples of z).
    In nats per image. Where the rate is undefined (a deterministic posterior) it and the ELBO are NaN.
    """

    full_state_update = False
    rate: Tensor
    distortion: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for state in ("rate", "distortion", "count"):
            self.add_state(state, torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, rate: Tensor, distortion: Tensor) -> None:
        """rate (B,), distortion (S, B)."""
        self.rate += rate.sum()
        self.distortion += distortion.mean(0).sum()
        self.count += len(rate)

    def compute(self) -> dict[str, Tensor]:
        rate, distortion = self.rate / self.count, self.distortion / self.count
        return {"elbo": -(rate + distortion), "rate": rate, "distortion": distortion}
