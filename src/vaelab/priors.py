"""Priors p(z): a density, a divergence from a Gaussian posterior, a sample from given noise."""

from typing import Protocol

from torch import Tensor, nn

from vaelab.distributions import gaussian_kl, normal_log_prob


class Prior(Protocol):
    """What a posterior and the autoencoder ask of a prior."""

    def kl(self, loc: Tensor, log_var: Tensor) -> Tensor:
        """KL(N(loc_d, exp(log_var_d)) || p(z_d)) in nats, (B, D); NaN where it has no such parts."""
        ...

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats: (..., D) -> (...)."""
        ...

    def sample(self, noise: Tensor) -> Tensor:
        """Standard normal noise (N, D) -> samples of p(z), (N, D)."""
        ...


class StandardNormal(nn.Module):
    """p(z) = N(0, I)."""

    def kl(self, loc: Tensor, log_var: Tensor) -> Tensor:
        return gaussian_kl(loc, log_var)

    def log_prob(self, z: Tensor) -> Tensor:
        return normal_log_prob(z, 0.0, 0.0).sum(-1)

    def sample(self, noise: Tensor) -> Tensor:
        return noise
