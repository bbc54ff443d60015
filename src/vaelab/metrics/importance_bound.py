"""The importance-weighted bound over a data set."""

import torch
from torch import Tensor
from torchmetrics import Metric

from vaelab.functional.estimators import importance_bound

__all__ = ["ImportanceBound"]


class ImportanceBound(Metric):
    """L_K = mean over images of log 1/K sum_k p(x, z_k) / q(z_k|x), in nats: ELBO <= L_K <= log p(x).

    K is ``model.samples``. NaN with K = 1, where it would be the ELBO with more noise, and where q is
    deterministic. See :func:`~vaelab.functional.estimators.importance_bound`.
    """

    full_state_update = False
    bound: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("bound", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, distortion: Tensor, log_q: Tensor, log_p: Tensor) -> None:
        """distortion, log_q, log_p (S, B)."""
        bound = importance_bound(log_p - distortion - log_q)
        self.bound += (bound if len(log_q) > 1 else torch.full_like(bound, torch.nan)).sum()
        self.count += len(bound)

    def compute(self) -> Tensor:
        return self.bound / self.count
