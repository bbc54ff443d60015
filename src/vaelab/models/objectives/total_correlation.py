"""Terms on the total correlation of the aggregate posterior: beta-TC-VAE and FactorVAE."""

import math
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from vaelab.functional.estimators import total_correlation
from vaelab.models.objectives.objective import Term
from vaelab.models.objectives.weights import WeightCombination
from vaelab.types import LatentStats

__all__ = ["FactorTotalCorrelation", "TotalCorrelation"]


class TotalCorrelation(Term):
    """(beta - 1) TC, beside the ELBO: the beta-TC-VAE with alpha = gamma = 1.

    "Isolating Sources of Disentanglement in VAEs" (Chen et al., 2018, arXiv:1802.04942).
    TC = KL(q(z) || prod_d q(z_d)) is estimated from the batch of B images by
    :func:`~vaelab.functional.estimators.total_correlation`; the term is that estimate, in nats:

    - "mws", the published default, minus its constant (D - 1) log N, which has no gradient. What remains is
      the TC of the mixture of the batch's B posteriors, from 0 to (D - 1) log B, in expectation. That of q(z)
      differs: it is smaller by up to log(N / B) where the posteriors of the training images overlap in each
      dimension and not in all together, and larger where they overlap in none.
    - "mss" is right in expectation for q(z), not for its log. Minimising it rewards an estimate below 0, to
      which narrow posteriors lead: the rate then rises with beta.

    The weight is beta - 1. A batch of a single image adds nothing. In distributed training the batch is that
    of each rank.

    Args:
        beta: weight of the TC within the decomposed KL; a number or a schedule.
        dataset_size: N, the number of training images.
        estimator: "mws" or "mss".

    Raises:
        ValueError: another estimator.
    """

    per_image = False
    needs = frozenset({"density", "independent dimensions"})

    def __init__(self, beta: float | nn.Module, dataset_size: int, estimator: str = "mws") -> None:
        super().__init__(WeightCombination(-1.0, plus=[beta]))
        if estimator not in ("mss", "mws"):
            raise ValueError(f"estimator must be mws or mss, got {estimator}")
        self.dataset_size = dataset_size
        self.estimator = estimator

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        # held-out batches may be larger than a small training set
        size = max(self.dataset_size, stats.z.shape[-2])
        estimate = total_correlation(stats.z, stats.loc, stats.scale, size, self.estimator)
        offset = (stats.z.shape[-1] - 1) * math.log(size) if self.estimator == "mws" else 0.0
        return estimate - offset


class Discriminator(nn.Sequential):
    """z (..., D) -> the logit of "these dimensions belong together", (..., 1): leaky ReLUs with slope 0.2.

    Args:
        width, depth: hidden units and hidden layers; 6 times 1000 in the paper.
        lr, betas: of its own group in the optimizer, Adam in the paper.
    """

    def __init__(
        self,
        latent_dim: int,
        width: int = 1000,
        depth: int = 6,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.9),
    ) -> None:
        layers: list[nn.Module] = []
        for inputs in [latent_dim] + [width] * (depth - 1):
            layers += [nn.Linear(inputs, width), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Linear(width, 1))
        self.optimizer_options = {"lr": lr, "betas": tuple(betas)}


class FactorTotalCorrelation(Term):
    """gamma TC, beside the ELBO, by a discriminator: FactorVAE.

    "Disentangling by Factorising" (Kim & Mnih, 2018, arXiv:1802.05983). A network with one output, the logit
    of D(z), learns to tell z ~ q(z) from z whose dimensions were permuted among images, z ~ prod_d q(z_d). TC
    = E_q(z) log D(z) / (1 - D(z)) = the mean logit, in nats, (S, B), as good as the discriminator is.

    One optimizer trains all: the term's gradient reaches the encoder through frozen copies of the
    discriminator's weights, and the discriminator learns by the :meth:`auxiliary_loss`, which sees z detached
    and does not depend on gamma. Its learning rate is its own (``optimizer_options``).

    As in the paper the permuted z are those of other images than the real ones: the batch is halved. The
    permutation comes from the noise that is passed in: dimension d of the second half is put into the order
    that sorts dimension d of ``z_prior``; with a prior of independent dimensions these are independent and
    uniform. A batch of a single image teaches the discriminator nothing.

    Args:
        weight: gamma; a number or a schedule.
        latent_dim: D.
        discriminator: arguments of :class:`Discriminator`.
    """

    per_image = False  # what the discriminator says of an image changes as it learns

    def __init__(
        self,
        weight: float | nn.Module,
        latent_dim: int,
        discriminator: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(weight)
        self.discriminator = Discriminator(latent_dim, **(discriminator or {}))

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        frozen = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        logits: Tensor = functional_call(self.discriminator, frozen, (stats.z,))
        return logits.squeeze(-1)

    def auxiliary_loss(self, stats: LatentStats, step: int | Tensor) -> Tensor | None:
        if stats.z.shape[-2] < 2:
            return None
        return self.cross_entropy(stats.z.detach(), stats.z_prior.detach())

    def cross_entropy(self, z: Tensor, order: Tensor) -> Tensor:
        """The discriminator's loss, (): 1/2 (-log D(z) - log(1 - D(z_permuted))), z (S, B, D)."""
        half = z.shape[-2] // 2
        real = self.discriminator(z[:, :half])
        permuted = self.discriminator(permute_dimensions(z[:, half:], order[half:]))
        return 0.5 * (F.softplus(-real).mean() + F.softplus(permuted).mean())


def permute_dimensions(z: Tensor, order: Tensor) -> Tensor:
    """z (S, B, D), every dimension d of it in the order that sorts column d of ``order`` (B, D)."""
    return z.gather(-2, order.argsort(0).expand_as(z))
