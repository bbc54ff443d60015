"""The two terms of the ELBO: log p(x) >= -(distortion + KL)."""

from torch import Tensor

from vaelab.models.objectives.objective import Term
from vaelab.types import LatentStats


class Distortion(Term):
    """D = E_q[-log p(x|z)], summed over pixels."""

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return stats.distortion


class KL(Term):
    """R = KL(q(z|x) || p(z)), summed over latent dimensions; its weight is beta (Higgins et al., 2017)."""

    needs_density = True

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return stats.rate
