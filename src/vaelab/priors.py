"""Priors p(z): a density, a divergence from a Gaussian posterior, a sample from given noise."""

from torch import Tensor, nn

from vaelab.distributions import gaussian_kl, standard_normal_log_prob


class Prior(nn.Module):
    """What a posterior and the autoencoder ask of p(z)."""

    def kl(self, loc: Tensor, log_var: Tensor) -> Tensor:
        """KL(N(loc_d, exp(log_var_d)) || p(z_d)) in nats, (B, D); NaN where it has no such parts."""
        raise NotImplementedError

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats: (..., D) -> (...)."""
        raise NotImplementedError

    def sample(self, noise: Tensor) -> Tensor:
        """Standard normal noise (N, D) -> samples of p(z), (N, D)."""
        raise NotImplementedError


class StandardNormal(Prior):
    """p(z) = N(0, I)."""

    def kl(self, loc: Tensor, log_var: Tensor) -> Tensor:
        return gaussian_kl(loc, log_var)

    def log_prob(self, z: Tensor) -> Tensor:
        return standard_normal_log_prob(z)

    def sample(self, noise: Tensor) -> Tensor:
        return noise
