"""The exact numbers of a linear VAE, whatever its weights, on Gaussian images.

They are the reference of scripts/checks.py: a trained model differs from the optimum
(:func:`~vaelab.functional.closed_forms.linear_beta_vae`), but its own numbers are known as exactly.
"""

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray

__all__ = ["ExactSplit", "LinearVAE"]

Array = NDArray[np.float64]

LOG_2PI = float(np.log(2 * np.pi))


class ExactSplit(NamedTuple):
    """The split of the rate by the aggregate posterior q(z) of all images.

    The names are those of :class:`~vaelab.functional.estimators.RateSplit`.
    """

    mutual_information: float
    total_correlation: float
    dimension_wise_kl: float
    aggregate_kl: float
    error: float  # the greatest of their standard errors: they are means over samples of q(z)


@dataclass(frozen=True)
class LinearVAE:
    """A VAE whose encoder and decoder are affine, on images x ~ N(0, C) of P pixels.

    q(z|x) = N(A x + a, diag(exp(B x + b))), p(x|z) = N(W z + w, sigma^2 I), p(z) = N(0, I) of D dimensions.
    In nats per image.

    Attributes:
        mean: (A, a), of shapes (D, P) and (D,).
        log_var: (B, b), of the same shapes.
        decoder: (W, w), of shapes (P, D) and (P,).
        sigma: standard deviation of the likelihood.
        covariance: C, (P, P).
    """

    mean: tuple[Array, Array]
    log_var: tuple[Array, Array]
    decoder: tuple[Array, Array]
    sigma: float
    covariance: Array

    @property
    def variances(self) -> Array:
        """The mean of each posterior variance over images, E exp(B x + b): (D,)."""
        slope, start = self.log_var
        spread = np.einsum("dp,pq,dq->d", slope, self.covariance, slope)
        return np.asarray(np.exp(start + 0.5 * spread))

    @property
    def moments(self) -> tuple[Array, Array]:
        """Mean (D,) and covariance (D, D) of q(z)."""
        slope, start = self.mean
        return start, slope @ self.covariance @ slope.T + np.diag(self.variances)

    @property
    def rate(self) -> float:
        """E KL(q(z|x) || p(z))."""
        centre, covariance = self.moments
        second_moment = np.trace(covariance) + centre @ centre
        return float(0.5 * (second_moment - self.log_var[1].sum() - len(centre)))

    @property
    def distortion(self) -> float:
        """E[-log p(x|z)], z ~ q(z|x)."""
        (slope, start), (weight, bias) = self.mean, self.decoder
        residual = np.eye(len(weight)) - weight @ slope
        error = np.trace(residual @ self.covariance @ residual.T) + np.square(weight @ start + bias).sum()
        return self._distortion(error + np.square(weight).sum(0) @ self.variances)

    @property
    def elbo(self) -> float:
        """-(rate + distortion)."""
        return -(self.rate + self.distortion)

    @property
    def negative_log_likelihood(self) -> float:
        """E[-log p(x)], p(x) = N(w, W W^T + sigma^2 I)."""
        weight, bias = self.decoder
        model = weight @ weight.T + self.sigma**2 * np.eye(len(weight))
        second_moment = self.covariance + np.outer(bias, bias)
        log_volume = np.linalg.slogdet(model)[1]
        return float(
            0.5 * (len(weight) * LOG_2PI + log_volume + np.trace(np.linalg.solve(model, second_moment)))
        )

    @property
    def shuffle_gap(self) -> float:
        """By how much the distortion rises if z is another image's."""
        return self._distortion_apart(*self.moments) - self.distortion

    @property
    def prior_gap(self) -> float:
        """By how much the distortion rises if z ~ p(z)."""
        dimensions = len(self.mean[1])
        return self._distortion_apart(np.zeros(dimensions), np.eye(dimensions)) - self.distortion

    @property
    def constant_distortion(self) -> float:
        """The distortion of the best constant output, the mean image."""
        return self._distortion(np.trace(self.covariance))

    def _distortion_apart(self, centre: Array, covariance: Array) -> float:
        """The distortion of z of this mean and covariance, independent of x."""
        weight, bias = self.decoder
        output = np.trace(weight @ covariance @ weight.T) + np.square(weight @ centre + bias).sum()
        return self._distortion(np.trace(self.covariance) + output)

    def _distortion(self, error: float) -> float:
        """Of a mean squared error, summed over pixels."""
        variance = self.sigma**2
        constant = 0.5 * len(self.covariance) * np.log(2 * np.pi * variance)
        return float(constant + error / (2 * variance))

    def posteriors(self, images: Array) -> tuple[Array, Array]:
        """Means and standard deviations of q(z|x): images (N, P) -> (N, D) each."""
        (slope, start), (log_slope, log_start) = self.mean, self.log_var
        return images @ slope.T + start, np.exp(0.5 * (images @ log_slope.T + log_start))

    def sample(self, number: int, random: np.random.Generator) -> Array:
        """Samples of q(z), each of an image of its own: (number, D)."""
        images = random.multivariate_normal(np.zeros(len(self.covariance)), self.covariance, number)
        means, scales = self.posteriors(images)
        return means + scales * random.standard_normal(means.shape)

    def log_aggregate_posterior(self, z: Array, nodes: int = 5) -> Array:
        """log q(z) by Gauss-Hermite quadrature with ``nodes`` per dimension: (N, D) -> (N,).

        Given its log variances a posterior's mean is Gaussian, and so is z; the quadrature is over the log
        variances, around their approximate mean given z. If they are the same for all images (B = 0), one
        node is exact; otherwise the error falls exponentially with the nodes.
        """
        return _log_aggregate(z, self.mean, self.log_var, self.covariance, nodes)

    def log_marginals(self, z: Array, nodes: int = 5) -> Array:
        """log q(z_d) for each dimension, by the same quadrature: (N, D) -> (N, D)."""
        rows = [slice(d, d + 1) for d in range(z.shape[1])]
        columns = [
            _log_aggregate(
                z[:, row],
                (self.mean[0][row], self.mean[1][row]),
                (self.log_var[0][row], self.log_var[1][row]),
                self.covariance,
                nodes,
            )
            for row in rows
        ]
        return np.stack(columns, axis=1)

    def split(self, samples: int = 20_000, nodes: int = 5, seed: int = 0) -> ExactSplit:
        """The split of the rate: means of exact log densities over samples of q(z)."""
        z = self.sample(samples, np.random.default_rng(seed))
        joint, marginals = self.log_aggregate_posterior(z, nodes), self.log_marginals(z, nodes).sum(1)
        prior = -0.5 * (np.square(z).sum(1) + z.shape[1] * LOG_2PI)
        parts = np.stack([joint - marginals, marginals - prior, joint - prior])
        correlation, separate, kl = parts.mean(1)
        error = parts.std(1).max() / np.sqrt(samples)
        return ExactSplit(*map(float, (self.rate - kl, correlation, separate, kl, error)))


def _log_aggregate(
    z: Array, mean: tuple[Array, Array], log_var: tuple[Array, Array], covariance: Array, nodes: int
) -> Array:
    """:meth:`LinearVAE.log_aggregate_posterior` of the encoder's rows for the dimensions of z."""
    (slope, start), (log_slope, log_start) = mean, log_var
    dimensions = len(start)
    spread, axes = np.linalg.eigh(log_slope @ covariance @ log_slope.T)
    spread = np.sqrt(spread.clip(min=0))
    scaled = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    # with standard normals g: log variance = log_start + tilt g, mean = start + regression g + rest
    tilt = axes * spread
    regression = slope @ covariance @ log_slope.T @ axes * scaled
    rest = slope @ covariance @ slope.T - regression @ regression.T

    def spread_of_z(g: Array) -> Array:
        """The covariance of z given g: (..., D) -> (..., D, D)."""
        return rest + np.exp(log_start + g @ tilt.T)[..., None] * np.eye(dimensions)

    centre = np.zeros_like(z)  # of g given z
    for _ in range(3):
        gain = np.linalg.solve(spread_of_z(centre), np.broadcast_to(regression, (len(z), *regression.shape)))
        precision = np.eye(dimensions) + regression.T @ gain
        centre = np.linalg.solve(precision, np.einsum("nij,ni->nj", gain, z - start)[..., None])[..., 0]
    root = np.linalg.cholesky(np.linalg.inv(precision))
    log_volume = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)

    points, weights = hermegauss(nodes)
    log_weights = np.log(weights / weights.sum())
    terms = []
    for chosen in product(range(nodes), repeat=dimensions):
        node = points[list(chosen)]
        g = centre + root @ node
        # the ratio of the standard normal density to that of the nodes' Gaussian
        ratio = 0.5 * (node @ node - np.square(g).sum(1)) + log_volume
        likelihood = _normal_log_prob(z - start - g @ regression.T, spread_of_z(g))
        terms.append(log_weights[list(chosen)].sum() + ratio + likelihood)
    return np.asarray(np.logaddexp.reduce(terms, axis=0))


def _normal_log_prob(apart: Array, covariance: Array) -> Array:
    """log N(apart; 0, covariance): (N, D), (N, D, D) -> (N,)."""
    squares = np.einsum("nd,nd->n", apart, np.linalg.solve(covariance, apart[..., None])[..., 0])
    log_volume = np.linalg.slogdet(covariance)[1]
    return np.asarray(-0.5 * (squares + log_volume + apart.shape[1] * LOG_2PI))
