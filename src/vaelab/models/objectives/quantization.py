"""The terms of a codebook: it follows the encoder, and the encoder keeps near it.

VQ-VAE (van den Oord et al., 2017): loss = distortion + |sg[z_e] - e|^2 + beta |z_e - sg[e]|^2, where
z_e is what the encoder gives, e the nearest codes and sg stops the gradient. Both terms have the same value;
they differ in whom their gradient reaches. In place of the first, codes may be moving averages
(:class:`~vaelab.models.posteriors.Codebook` with a ``decay``). The rate is a constant, or no gradient of it reaches
anything, so there is no term for it.
"""

from torch import Tensor

from vaelab.models.objectives.objective import Term
from vaelab.types import LatentStats


class CodebookLoss(Term):
    """|sg[z_e] - e|^2, summed over dimensions, (B,): moves the codes to the encoder's points."""

    needs_codes = True
    moves_codes = True

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return (stats.q.encoded.detach() - stats.q.loc).square().sum(-1)


class Commitment(Term):
    """|z_e - sg[e]|^2, summed over dimensions, (B,): keeps the encoder near its codes. Its weight is beta."""

    needs_codes = True

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return (stats.q.encoded - stats.q.loc.detach()).square().sum(-1)
