"""How many codes of a codebook are in use."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from vaelab.functional.measures import perplexity

__all__ = ["Perplexity"]


class Perplexity(Metric):
    """exp of the entropy of the codes' frequencies, over all places and images: from 1 to K, their number.

    1 where a single code is used, K where all are used equally often; NaN without a codebook.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(codes), dist_reduce_fx="sum")

    def update(self, q: Any) -> None:
        """q: of a posterior that chooses codes (:mod:`vaelab.models.codebooks`), with its codes (B, n)."""
        if hasattr(q, "codes"):
            self.counts += torch.bincount(q.codes.flatten(), minlength=len(self.counts))

    def compute(self) -> Tensor:
        return perplexity(self.counts)
