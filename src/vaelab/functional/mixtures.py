"""A Gaussian mixture fitted to a trained model's codes, so that they can be sampled.

A plain autoencoder is sampled this way in "From Variational to Deterministic Autoencoders" (Ghosh et al.,
2020, section 4), https://arxiv.org/abs/1903.12436. For a VAE it shows how far the prior is from the aggregate
posterior.
"""

import warnings

import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from vaelab.functional.randomness import generator

__all__ = ["GaussianMixture", "fit_gaussian_mixture"]


class GaussianMixture:
    """q(z) = sum_k w_k N(z; m_k, C_k), in double precision on the CPU.

    Args:
        weights: (K,).
        means: (K, D).
        covariances: (K, D, D).
        converged: whether the fit converged; True for a mixture that was not fitted.
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor, converged: bool = True) -> None:
        self.weights = weights.double()
        self.parts = MultivariateNormal(means.double(), covariances.double())
        self.distribution = MixtureSameFamily(Categorical(self.weights), self.parts)
        self.converged = converged

    @property
    def components(self) -> int:
        return len(self.weights)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """n samples, (n, D) float32; the same seed gives the same samples."""
        # torch.distributions draw from the global generator alone
        random = generator(seed, "ex-post density")
        part = torch.multinomial(self.weights, n, replacement=True, generator=random)
        noise = torch.randn(n, self.parts.loc.shape[1], generator=random, dtype=torch.float64)
        return (self.parts.loc[part] + (self.parts.scale_tril[part] @ noise[..., None]).squeeze(-1)).float()

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z) in nats: (..., D) -> (...), float64.

        >>> standard = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None])
        >>> round(standard.log_prob(torch.zeros(2)).item(), 4)  # -log 2 pi
        -1.8379
        """
        return self.distribution.log_prob(z.cpu().double())


def fit_gaussian_mixture(z: Tensor, components: int = 10, seed: int = 0) -> GaussianMixture:
    """A mixture of full-covariance Gaussians fitted to codes z (N, D) by scikit-learn's EM, from k-means.

    z: samples of q(z|x) of TRAINING images, or a deterministic encoder's codes. Ghosh et al. (2020) use 10
    components. Fewer are fitted where there are not D + 1 codes for each, which a covariance needs. A
    dimension without variance gets the variance 1e-6.

    Raises:
        ValueError: fewer than two codes, or codes that are not finite.
    """
    from sklearn import mixture
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    n, dimensions = z.shape
    fewer = max(1, min(components, n // (dimensions + 1)))
    fit = mixture.GaussianMixture(fewer, covariance_type="full", random_state=seed)
    # the matrices are D x D: threads would wait for each other, on busy cores for seconds
    with warnings.catch_warnings(), threadpool_limits(1):
        # ``converged`` says the same; and k-means warns if there are fewer distinct codes than components
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit.fit(z.cpu().double().numpy())
    weights, means, covariances = map(torch.from_numpy, (fit.weights_, fit.means_, fit.covariances_))
    return GaussianMixture(weights, means, covariances, bool(fit.converged_))
