"""Models whose optimum is known exactly, for comparison with a trained one."""

from collections.abc import Sequence
from math import log, pi
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["LinearOptimum", "gaussian_images", "linear_beta_vae"]


class LinearOptimum(NamedTuple):
    """The global optimum of a linear beta-VAE. In nats per image."""

    rate: float
    distortion: float
    active_units: int
    kl_per_dim: list[float]  # of the active dimensions, from the largest; all others are 0

    @property
    def elbo(self) -> float:
        """-(rate + distortion), with beta = 1."""
        return -(self.rate + self.distortion)


def linear_beta_vae(
    eigenvalues: Sequence[float], sigma: float, beta: float, latent_dim: int
) -> LinearOptimum:
    """The optimum of a linear encoder and decoder with a Gaussian likelihood on data N(0, C).

    With s = beta sigma^2, the principal direction i is active iff its variance l_i > s; then its posterior
    variance is s / l_i, its KL is 1/2 log(l_i / s) and its expected squared error is s, while an inactive
    direction has error l_i: reverse water-filling. At beta = 1 it is probabilistic PCA, and the ELBO is the
    log-likelihood.

    "Probabilistic Principal Component Analysis" (Tipping & Bishop, 1999); "Don't Blame the ELBO! A Linear VAE
    Perspective on Posterior Collapse" (Lucas et al., 2019), https://arxiv.org/abs/1911.02469

    >>> linear_beta_vae([4.0, 1.0, 0.1], sigma=0.5, beta=1.0, latent_dim=2).active_units
    2

    Args:
        eigenvalues: l_i, of the covariance C, all of them; as many as there are pixels.
        sigma: standard deviation of the likelihood.
        beta: weight of the KL.
        latent_dim: at most that many directions, the largest, can be active.
    """
    water = beta * sigma**2
    variances = sorted(eigenvalues, reverse=True)
    active = [variance for variance in variances[:latent_dim] if variance > water]
    kl = [0.5 * log(variance / water) for variance in active]
    error = water * len(active) + sum(variances[len(active) :])
    constant = 0.5 * len(variances) * log(2 * pi * sigma**2)
    return LinearOptimum(sum(kl, 0.0), constant + error / (2 * sigma**2), len(active), kl)


def gaussian_images(eigenvalues: Sequence[float], number: int, seed: int = 0) -> NDArray[np.float32]:
    """``number`` vectors (number, len(eigenvalues)) whose sample mean is 0 and whose covariance is exact.

    The covariance (divided by ``number``) has exactly these eigenvalues, in a random orthonormal basis that
    is the same for every ``number`` and ``seed``: samples of different seeds share one covariance.
    """
    pixels = len(eigenvalues)
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((pixels, pixels)))
    draws = np.random.default_rng([seed, 1]).standard_normal((number, pixels))
    white, _ = np.linalg.qr(draws - draws.mean(0))  # orthonormal columns, still centred
    scaled = white * np.sqrt(number) * np.sqrt(np.asarray(eigenvalues))
    return (scaled @ basis.T).astype(np.float32)
