"""The two terms of the ELBO: log p(x) >= -(distortion + KL)."""

from torch import Tensor

from vaelab.models.objectives.objective import Term
from vaelab.types import LatentStats

__all__ = ["KL", "Distortion"]


class Distortion(Term):
    """D = E_q[-log p(x|z)], summed over pixels: (S, B) nats."""

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return stats.distortion


class KL(Term):
    """R = KL(q(z|x) || p(z)), summed over latent dimensions: (B,) nats.

    Its weight is beta of the beta-VAE: "beta-VAE: Learning Basic Visual Concepts with a Constrained
    Variational Framework" (Higgins et al., ICLR 2017).
    """

    needs = frozenset({"density"})

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return stats.rate
