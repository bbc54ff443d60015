"""DIP-VAE: the covariance of the aggregate posterior is led to the identity, the prior's.

Beside the ELBO, lambda_od sum_{i != j} C_ij^2 + lambda_d sum_i (C_ii - 1)^2 (Kumar, Sattigeri &
Balakrishnan, 2018), here as two terms, each with its own weight.
"""

from torch import Tensor, nn

from vaelab.errors import UserError
from vaelab.models.objectives.objective import Term
from vaelab.types import LatentStats


class Moments(Term):
    """A term on the covariance C (D, D) over the batch, divided by its size.

    DIP-VAE-I has C = Cov(mu(x)), DIP-VAE-II the covariance of q(z) itself,
    Cov(mu(x)) + E diag(sigma(x)^2).
    Divided by B, not B - 1, as in disentanglement_lib: that of the images at hand, defined for a single one.
    In distributed training the batch is that of each rank.

    Args:
        weight: a number or a schedule.
        kind: "i" or "ii".
    """

    def __init__(self, weight: float | nn.Module, kind: str) -> None:
        super().__init__(weight)
        if kind not in ("i", "ii"):
            raise UserError(f"kind of a DIP term must be i or ii, got {kind}.")
        self.needs_diagonal = kind == "ii"  # I reads the means alone

    def covariance(self, stats: LatentStats) -> Tensor:
        """C, (D, D)."""
        centred = stats.loc - stats.loc.mean(0)
        means = centred.T @ centred / len(stats.loc)
        return means + self.needs_diagonal * stats.scale.square().mean(0).diag()


class CovarianceOffDiagonal(Moments):
    """sum_{i != j} C_ij^2, ()."""

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        c = self.covariance(stats)
        return (c - c.diagonal().diag()).square().sum()


class CovarianceDiagonal(Moments):
    """sum_i (C_ii - 1)^2, ()."""

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        return (self.covariance(stats).diagonal() - 1).square().sum()
