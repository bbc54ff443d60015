"""DIP-VAE: a penalty that draws the covariance of the aggregate posterior to the identity, the prior's.

"Variational Inference of Disentangled Latent Concepts from Unlabeled Observations" (Kumar, Sattigeri &
Balakrishnan, 2018, arXiv:1711.00848): beside the ELBO, lambda_od sum_{i != j} C_ij^2 + lambda_d sum_i
(C_ii - 1)^2, here as two terms, each with its own weight.
"""

from torch import Tensor, nn

from vaelab.models.objectives.objective import Term
from vaelab.types import LatentStats

__all__ = ["CovariancePenalty"]


class CovariancePenalty(Term):
    """sum_{i != j} C_ij^2 or sum_i (C_ii - 1)^2, (), with C (D, D) the covariance over the batch.

    DIP-VAE-I has C = Cov(mu(x)), DIP-VAE-II the covariance of q(z) itself, Cov(mu(x)) + E diag(sigma(x)^2).
    Divided by B, not B - 1, as in disentanglement_lib, so that it is defined for a single image.
    In distributed training the batch is that of each rank.

    Args:
        weight: a number or a schedule.
        kind: "i" or "ii".
        entries: "diagonal" or "off_diagonal".

    Raises:
        ValueError: another ``kind`` or other ``entries``.
    """

    per_image = False

    def __init__(self, weight: float | nn.Module, kind: str, entries: str) -> None:
        super().__init__(weight)
        if kind not in ("i", "ii"):
            raise ValueError(f"kind must be i or ii, got {kind}")
        if entries not in ("diagonal", "off_diagonal"):
            raise ValueError(f"entries must be diagonal or off_diagonal, got {entries}")
        self.kind, self.entries = kind, entries
        if kind == "ii":  # I reads the means alone
            self.needs = frozenset({"independent dimensions"})

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        centred = stats.loc - stats.loc.mean(0)
        covariance = centred.T @ centred / len(stats.loc)
        if self.kind == "ii":
            covariance = covariance + stats.scale.square().mean(0).diag()
        if self.entries == "diagonal":
            return (covariance.diagonal() - 1).square().sum()
        return (covariance - covariance.diagonal().diag()).square().sum()
