"""The exact solutions, held against independent computations."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from vaelab.functional.closed_forms import gaussian_images, linear_beta_vae

EIGENVALUES = [6.0, 3.0, 1.8, 1.0, 0.35, 0.17, 0.08, 0.02]


@pytest.mark.parametrize("latent_dim", [1, 3, 8])
def test_at_beta_one_the_elbo_is_the_likelihood_of_the_model_it_implies(latent_dim):
    # p(x) = N(0, W W' + sigma^2 I), where W has the directions that exceed the noise
    sigma2 = 0.25
    x = gaussian_images(EIGENVALUES, 500).astype(float)
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    model = np.maximum(values - sigma2, 0)
    model[: len(values) - latent_dim] = 0  # eigh sorts upwards
    covariance = vectors @ np.diag(model) @ vectors.T + sigma2 * np.eye(len(values))
    likelihood = multivariate_normal(np.zeros(len(values)), covariance).logpdf(x).mean()
    exact = linear_beta_vae(values, sigma2**0.5, beta=1.0, latent_dim=latent_dim)
    assert exact.elbo == pytest.approx(likelihood, rel=1e-4)


@pytest.mark.parametrize("latent_dim", [2, 5])
def test_with_its_own_noise_it_is_scikit_learns_probabilistic_pca(latent_dim):
    x = gaussian_images(EIGENVALUES, 20_000).astype(float)
    pca = PCA(latent_dim, svd_solver="full").fit(x)
    exact = linear_beta_vae(EIGENVALUES, pca.noise_variance_**0.5, beta=1.0, latent_dim=latent_dim)
    assert exact.active_units == latent_dim
    assert exact.elbo == pytest.approx(pca.score(x), abs=2e-3)  # PCA divides by n - 1


@pytest.mark.parametrize("beta", [0.2, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("latent_dim", [3, 8])
def test_no_other_linear_model_has_a_lower_objective(beta, latent_dim):
    # In the principal basis: gain a_i, decoder b_i and posterior deviation s_i for each direction i.
    sigma2, variances = 0.25, np.array(EIGENVALUES[:latent_dim])
    rest = sum(EIGENVALUES[latent_dim:])

    def parts(flat: np.ndarray) -> tuple[float, float]:
        gain, decoder, log_s = flat.reshape(3, -1)
        s2 = np.exp(2 * log_s)
        rate = 0.5 * (gain**2 * variances + s2 - 1 - 2 * log_s).sum()
        error = ((1 - gain * decoder) ** 2 * variances + decoder**2 * s2).sum() + rest
        return rate, 0.5 * len(EIGENVALUES) * np.log(2 * np.pi * sigma2) + error / (2 * sigma2)

    def objective(flat: np.ndarray) -> float:
        rate, distortion = parts(flat)
        return distortion + beta * rate

    random = np.random.default_rng(0)
    starts = random.normal(scale=0.5, size=(5, 3 * latent_dim))
    best = min((minimize(objective, start, method="BFGS") for start in starts), key=lambda found: found.fun)
    exact = linear_beta_vae(EIGENVALUES, sigma2**0.5, beta, latent_dim)
    assert exact.distortion + beta * exact.rate == pytest.approx(best.fun, rel=1e-5)
    assert (exact.rate, exact.distortion) == pytest.approx(parts(best.x), rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("beta", [0.3, 0.9, 2.5, 6.0])
def test_the_slope_of_the_rate_distortion_curve_is_minus_beta(beta):
    less, more = (linear_beta_vae(EIGENVALUES, 0.5, beta + step, latent_dim=8) for step in (-1e-5, 1e-5))
    slope = (more.distortion - less.distortion) / (more.rate - less.rate)
    assert slope == pytest.approx(-beta, rel=1e-4)


def test_active_units_are_counted():
    counts = {
        beta: linear_beta_vae(EIGENVALUES, 0.5, beta, 8).active_units for beta in (0.01, 0.5, 2, 10, 30)
    }
    assert counts == {0.01: 8, 0.5: 6, 2: 4, 10: 2, 30: 0}
    assert linear_beta_vae(EIGENVALUES, 0.5, 0.5, latent_dim=3).active_units == 3


def test_the_rate_is_the_sum_of_its_dimensions_from_the_largest():
    exact = linear_beta_vae(EIGENVALUES[::-1], 0.5, 1.0, 8)
    assert exact.kl_per_dim == sorted(exact.kl_per_dim, reverse=True)
    assert sum(exact.kl_per_dim) == pytest.approx(exact.rate)
    assert exact.kl_per_dim[0] == pytest.approx(0.5 * np.log(6.0 / 0.25))


def test_gaussian_images_have_exactly_their_covariance():
    x = gaussian_images(EIGENVALUES, 1000).astype(float)
    assert x.shape == (1000, 8)
    assert np.abs(x.mean(0)).max() < 1e-6
    assert np.linalg.eigvalsh(x.T @ x / 1000)[::-1] == pytest.approx(EIGENVALUES, rel=1e-5)
