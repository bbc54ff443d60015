"""The terms of a codebook: the codes follow the encoder's points, and the encoder stays near its codes.

"Neural Discrete Representation Learning" (van den Oord et al., 2017, arXiv:1711.00937): loss = distortion +
|sg[z_e] - e|^2 + beta |z_e - sg[e]|^2, where z_e is the encoder's output, e the nearest codes and sg stops
the gradient. Both terms have the same value; they differ in what their gradient reaches. In place of the
first, codes may be moving averages (:class:`~vaelab.models.Codebook` with a ``decay``). There is no term for
the rate: it is a constant, or no gradient of it reaches anything. Where codes are sums, both are summed over
what z is after each of them, as in "Autoregressive Image Generation using Residual Quantization" (Lee et al.,
2022, arXiv:2203.01941), section 3.1.
"""

from torch import Tensor

from vaelab.models.objectives.objective import Term
from vaelab.types import LatentStats

__all__ = ["CodebookLoss", "Commitment"]


class CodebookLoss(Term):
    """|sg[z_e] - e|^2, summed over dimensions, (B,): moves the codes to the encoder's points."""

    provides = frozenset({"codebook loss"})
    needs = frozenset({"codes", "trainable codes"})

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return (stats.q.encoded.detach()[:, None] - stats.q.stages).square().sum(-1).sum(-1)


class Commitment(Term):
    """|z_e - sg[e]|^2, summed over dimensions, (B,): keeps the encoder near its codes. Its weight is beta."""

    needs = frozenset({"codes"})

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return (stats.q.encoded[:, None] - stats.q.stages.detach()).square().sum(-1).sum(-1)
