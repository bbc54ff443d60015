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


class DiagonalGaussian(nn.Module):
    """q(z|x) = N(mu(x), diag(sigma(x)^2)); the encoder gives mu and log sigma^2 (Kingma & Welling, 2014)."""

    deterministic = False

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.parameter_count = 2 * latent_dim

    def forward(self, encoded: Tensor) -> Gaussian:
        """(B, 2D) -> mu, sigma and log sigma^2, each (B, D)."""
        loc, log_var = encoded.chunk(2, dim=-1)
        return Gaussian(loc, (0.5 * log_var).exp(), log_var)

    def sample(self, q: Gaussian, noise: Tensor) -> Tensor:
        """z = mu + sigma * eps for eps (S, B, D): reparametrised, differentiable in mu and sigma."""
        return q.loc + q.scale * noise

    def log_prob(self, q: Gaussian, z: Tensor) -> Tensor:
        """log q(z|x): (S, B, D) -> (S, B)."""
        return normal_log_prob(z, q.loc, q.log_var).sum(-1)

    def kl(self, q: Gaussian, prior: Prior) -> Tensor:
        """KL(q(z_d|x) || p(z_d)), (B, D), analytic."""
        return prior.kl(q.loc, q.log_var)


class Deterministic(nn.Module):
    """z = mu(x): the posterior of a plain autoencoder, a point mass.

    It has no density, so log q and the KL are undefined: NaN, never 0.
    """

    deterministic = True

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.parameter_count = latent_dim

    def forward(self, encoded: Tensor) -> Gaussian:
        """(B, D) -> mu, with standard deviation 0."""
        return Gaussian(encoded, torch.zeros_like(encoded), torch.full_like(encoded, -torch.inf))

    def sample(self, q: Gaussian, noise: Tensor) -> Tensor:
        """mu for every sample; the noise only says how many."""
        return q.loc.expand_as(noise)

    def log_prob(self, q: Gaussian, z: Tensor) -> Tensor:
        """NaN, (S, B)."""
        return torch.full_like(z[..., 0], torch.nan)

    def kl(self, q: Gaussian, prior: Prior) -> Tensor:
        """NaN, (B, D)."""
        return torch.full_like(q.loc, torch.nan)
