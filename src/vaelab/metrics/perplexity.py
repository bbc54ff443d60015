"""How many codes of a codebook are in use."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from vaelab.functional.measures import perplexity, share_in_use

__all__ = ["Perplexity"]


class Perplexity(Metric):
    """How evenly the K codes are used, over all places and images, and how many of them at all.

    - ``perplexity``: exp of the entropy of their frequencies, from 1, where a single code is used, to K,
      where all are used equally often. Of several codebooks, the geometric mean.
    - ``codes_used``: the share of the codes, of all codebooks, that are used, from 1/K to 1.

    NaN where the posterior chooses no codes.

    Args:
        number_of_codes: K, of each codebook.
        codebooks: T. The codes of an image, in order, are T equal parts, one from each codebook.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, number_of_codes: int, codebooks: int = 1) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(codebooks, number_of_codes), dist_reduce_fx="sum")

    def update(self, q: Any) -> None:
        """q: of a posterior that chooses codes (:mod:`vaelab.models.codebooks`), with its codes (B, n)."""
        if hasattr(q, "codes"):
            each = q.codes.unflatten(-1, (len(self.counts), -1)).unbind(1)
            self.counts += torch.stack(
                [torch.bincount(part.flatten(), minlength=self.counts.shape[1]) for part in each]
            )

    def compute(self) -> dict[str, Tensor]:
        return {"perplexity": perplexity(self.counts), "codes_used": share_in_use(self.counts)}
