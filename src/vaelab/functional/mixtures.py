"""The ex-post density: a Gaussian mixture fitted to a trained model's codes, so that they can be sampled.

Ghosh, Sajjadi, Vergari, Black & Schölkopf (2020, "From Variational to Deterministic Autoencoders", section 4)
sample a plain autoencoder this way; a VAE gains by it what its aggregate posterior lacks of the prior.
"""

import warnings

import torch
from torch import Tensor

from vaelab.functional.randomness import generator


class ExPostDensity:
    """q(z) = sum_k w_k N(z; m_k, C_k), in double precision on the CPU.

    Shapes: weights (K,), means (K, D), covariances (K, D, D).

    Attributes:
        converged: whether the fit had come to rest; True for a density that was not fitted.
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor, converged: bool = True) -> None:
        self.weights, self.means, self.covariances = (part.double() for part in (weights, means, covariances))
        self.converged = converged
        self._factors = torch.linalg.cholesky(self.covariances)

    @property
    def components(self) -> int:
        return len(self.weights)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """n samples, (n, D) float32; the same seed gives the same."""
        random = generator(seed, "ex-post density")
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=random)
        noise = torch.randn(n, self.means.shape[1], generator=random, dtype=torch.float64)
        return (self.means[chosen] + (self._factors[chosen] @ noise[..., None]).squeeze(-1)).float()

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z) in nats: (..., D) -> (...), float64."""
        parts = torch.distributions.MultivariateNormal(self.means, scale_tril=self._factors)
        return (parts.log_prob(z.cpu().double()[..., None, :]) + self.weights.log()).logsumexp(-1)


def fit_density(z: Tensor, components: int = 10, seed: int = 0) -> ExPostDensity:
    """A mixture of full-covariance Gaussians fitted to codes z (N, D) by scikit-learn's EM, from k-means.

    z: samples of q(z|x) of TRAINING images, or a deterministic encoder's codes. Ghosh et al. (2020) use 10
    components. Fewer are fitted where there are not D + 1 codes for each, which a covariance needs. A
    dimension without variance gets the variance 1e-6.

    Raises:
        ValueError: fewer than two codes, or codes that are not finite.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    n, dimensions = z.shape
    mixture = GaussianMixture(
        max(1, min(components, n // (dimensions + 1))), covariance_type="full", random_state=seed
    )
    with warnings.catch_warnings():
        # said by ``converged``; and k-means warns if there are fewer distinct codes than components
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(z.cpu().double().numpy())
    weights, means, covariances = (
        torch.from_numpy(part) for part in (mixture.weights_, mixture.means_, mixture.covariances_)
    )
    return ExPostDensity(weights, means, covariances, bool(mixture.converged_))
