"""The importance-weighted bound over a data set."""

from typing import Any

import torch
from torch import Tensor

from vaelab.functional.estimators import importance_bound
from vaelab.metrics.per_image import PerImage

__all__ = ["ImportanceBound"]


class ImportanceBound(PerImage):
    """L_K = mean over images of log 1/K sum_k p(x, z_k) / q(z_k|x), in nats: ELBO <= L_K <= log p(x).

    K is ``model.samples``. NaN with K = 1, where it would be the ELBO with more noise, and where q is
    deterministic. See :func:`~vaelab.functional.estimators.importance_bound`.
    """

    def update(self, distortion: Tensor, log_q: Tensor, log_p: Tensor, position: Tensor) -> None:
        """distortion, log_q, log_p (S, B), position (B,)."""
        self.add(position, self._values(distortion, log_q, log_p))

    def refine(  # type: ignore[override]
        self, place: int, distortion: Tensor, log_q: Tensor, log_p: Tensor, **_: Any
    ) -> None:
        self.average(place, self._values(distortion, log_q, log_p))

    def _values(self, distortion: Tensor, log_q: Tensor, log_p: Tensor) -> Tensor:
        bound = importance_bound(log_p - distortion - log_q)
        return (bound if len(log_q) > 1 else torch.full_like(bound, torch.nan))[:, None]

    def compute(self) -> Tensor:
        return self.images().mean.mean()
