"""Posteriors q(z|x): from the encoder's output to a sample, its density and its divergence from the prior."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vaelab.distributions import normal_log_prob
from vaelab.priors import Prior


class Gaussian(NamedTuple):
    """The parameters of q(z|x) for a batch."""

    loc: Tensor  # (B, D)
    scale: Tensor  # (B, D)  standard deviation; 0 where q is deterministic
    log_var: Tensor  # (B, D)  2 log(scale)


class Posterior(nn.Module):
    """What an autoencoder asks of q(z|x). The encoder gives ``parameter_count`` numbers an image."""

    deterministic = False
    parameters_per_dimension: int

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.parameter_count = self.parameters_per_dimension * latent_dim

    def forward(self, encoded: Tensor) -> Gaussian:
        """The encoder's output (B, parameter_count) -> the parameters of q(z|x), each (B, D)."""
        raise NotImplementedError

    def sample(self, q: Gaussian, noise: Tensor) -> Tensor:
        """Standard normal noise (S, B, D) -> z (S, B, D)."""
        raise NotImplementedError

    def log_prob(self, q: Gaussian, z: Tensor) -> Tensor:
        """log q(z|x) in nats: (S, B, D) -> (S, B)."""
        raise NotImplementedError

    def kl(self, q: Gaussian, prior: Prior) -> Tensor:
        """KL(q(z_d|x) || p(z_d)) in nats, (B, D)."""
        raise NotImplementedError


class DiagonalGaussian(Posterior):
    """q(z|x) = N(mu(x), diag(sigma(x)^2)); the encoder gives mu and log sigma^2 (Kingma & Welling, 2014)."""

    parameters_per_dimension = 2

    def forward(self, encoded: Tensor) -> Gaussian:
        loc, log_var = encoded.chunk(2, dim=-1)
        return Gaussian(loc, (0.5 * log_var).exp(), log_var)

    def sample(self, q: Gaussian, noise: Tensor) -> Tensor:
        # reparametrised: differentiable in mu and sigma
        return q.loc + q.scale * noise

    def log_prob(self, q: Gaussian, z: Tensor) -> Tensor:
        return normal_log_prob(z, q.loc, q.log_var).sum(-1)

    def kl(self, q: Gaussian, prior: Prior) -> Tensor:
        return prior.kl(q.loc, q.log_var)


class Deterministic(Posterior):
    """z = mu(x): the posterior of a plain autoencoder, a point mass.

    It has no density, so log q and the KL are undefined: NaN, never 0.
    """

    deterministic = True
    parameters_per_dimension = 1

    def forward(self, encoded: Tensor) -> Gaussian:
        return Gaussian(encoded, torch.zeros_like(encoded), torch.full_like(encoded, -torch.inf))

    def sample(self, q: Gaussian, noise: Tensor) -> Tensor:
        # the noise only says how many
        return q.loc.expand_as(noise)

    def log_prob(self, q: Gaussian, z: Tensor) -> Tensor:
        return torch.full_like(z[..., 0], torch.nan)

    def kl(self, q: Gaussian, prior: Prior) -> Tensor:
        return torch.full_like(q.loc, torch.nan)
