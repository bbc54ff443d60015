"""The exact numbers of linear VAEs, held against samples of images and codes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from support.chance import SIGMAS
from vaelab.functional.closed_forms import linear_beta_vae
from vaelab.functional.linear_vae import LinearVAE

PIXELS, LATENT, SIGMA, IMAGES = 4, 2, 0.6, 200_000


def drawn(seed: int = 0, log_slope: float = 0.3) -> LinearVAE:
    """A linear VAE of arbitrary weights; its log variances spread over images by about ``log_slope``."""
    random = np.random.default_rng(seed)
    root = random.normal(size=(PIXELS, PIXELS))
    return LinearVAE(
        mean=(random.normal(size=(LATENT, PIXELS)) / 2, random.normal(size=LATENT) / 3),
        log_var=(log_slope * random.normal(size=(LATENT, PIXELS)) / 2, random.normal(size=LATENT) - 1),
        decoder=(random.normal(size=(PIXELS, LATENT)), random.normal(size=PIXELS) / 2),
        sigma=SIGMA,
        covariance=root @ root.T / PIXELS,
    )


def sampled(model: LinearVAE, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images, means, standard deviations and codes."""
    random = np.random.default_rng(seed)
    x = random.multivariate_normal(np.zeros(PIXELS), model.covariance, IMAGES)
    mean = x @ model.mean[0].T + model.mean[1]
    scale = np.exp((x @ model.log_var[0].T + model.log_var[1]) / 2)
    return x, mean, scale, mean + scale * random.normal(size=mean.shape)


def assert_mean(values: np.ndarray, expected: float) -> None:
    error = values.std() / np.sqrt(len(values))
    assert error < 0.05 * max(1, abs(expected))
    assert abs(values.mean() - expected) < SIGMAS * error


@pytest.mark.parametrize("seed", [0, 1])
def test_rate_distortion_likelihood_and_gaps_are_means_over_images(seed):
    model = drawn(seed)
    x, mean, scale, z = sampled(model)
    weight, bias = model.decoder

    def distortion(codes: np.ndarray) -> np.ndarray:
        return -norm.logpdf(x, codes @ weight.T + bias, SIGMA).sum(1)

    own = distortion(z)
    assert_mean((norm.logpdf(z, mean, scale) - norm.logpdf(z)).sum(1), model.rate)
    assert_mean(own, model.distortion)
    assert model.elbo == -(model.rate + model.distortion)
    marginal = multivariate_normal(bias, weight @ weight.T + SIGMA**2 * np.eye(PIXELS))
    assert_mean(-marginal.logpdf(x), model.negative_log_likelihood)
    assert_mean(distortion(np.roll(z, 1, axis=0)) - own, model.shuffle_gap)
    assert_mean(distortion(np.random.default_rng(2).normal(size=z.shape)) - own, model.prior_gap)
    assert_mean(-norm.logpdf(x, 0, SIGMA).sum(1), model.constant_distortion)


def test_the_aggregate_posterior_is_the_mean_of_all_posteriors():
    model = drawn()
    _, mean, scale, z = sampled(model)
    points = z[:5]
    joint, marginals = model.log_aggregate_posterior(points), model.log_marginals(points)
    for point, density, separate in zip(points, np.exp(joint), np.exp(marginals), strict=True):
        likelihoods = norm.pdf(point, mean, scale)
        assert_mean(likelihoods.prod(1) / density, 1)
        assert_mean(likelihoods[:, 0] / separate[0], 1)
        assert_mean(likelihoods[:, 1] / separate[1], 1)


@pytest.mark.parametrize(("log_slope", "tolerance"), [(0.03, 1e-7), (0.3, 1e-3), (1.0, 0.05)])
def test_more_nodes_change_nothing(log_slope, tolerance):
    model = drawn(log_slope=log_slope)
    z = model.sample(200, np.random.default_rng(0))
    few, many = (model.log_aggregate_posterior(z, nodes) for nodes in (5, 14))
    np.testing.assert_allclose(few, many, rtol=0, atol=tolerance)


def test_without_a_slope_of_the_log_variances_the_split_is_that_of_a_gaussian():
    model = drawn(seed=9, log_slope=0.0)
    centre, covariance = model.moments
    kl = 0.5 * (np.trace(covariance) + centre @ centre - LATENT - np.linalg.slogdet(covariance)[1])
    correlation = 0.5 * (np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1])
    split = model.split(nodes=1)
    assert split.error < 0.05
    bound = SIGMAS * split.error
    assert split.aggregate_kl == pytest.approx(kl, abs=bound)
    assert split.total_correlation == pytest.approx(correlation, abs=bound)
    assert split.dimension_wise_kl == pytest.approx(kl - correlation, abs=bound)
    assert split.mutual_information == pytest.approx(model.rate - kl, abs=bound)
    assert correlation > 0.5


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_the_optimum_is_that_of_the_closed_form(beta):
    """With the weights of the optimum, in the principal basis, for beta = 1 probabilistic PCA."""
    eigenvalues = np.array([6.0, 3.0, 0.5, 0.1])
    water = beta * SIGMA**2
    explained = np.sqrt(1 - water / eigenvalues[:LATENT])
    weight = np.zeros((PIXELS, LATENT))
    np.fill_diagonal(weight, explained * np.sqrt(eigenvalues[:LATENT]))
    slope = np.zeros((LATENT, PIXELS))
    np.fill_diagonal(slope, explained / np.sqrt(eigenvalues[:LATENT]))
    log_var = np.zeros((LATENT, PIXELS)), np.log(water / eigenvalues[:LATENT])
    zero = np.zeros(LATENT)
    model = LinearVAE((slope, zero), log_var, (weight, np.zeros(PIXELS)), SIGMA, np.diag(eigenvalues))
    exact = linear_beta_vae(eigenvalues, SIGMA, beta, LATENT)
    assert model.rate == pytest.approx(exact.rate)
    assert model.distortion == pytest.approx(exact.distortion)
    split = model.split(1000)
    assert split.mutual_information == pytest.approx(model.rate)
    assert split[1:] == pytest.approx((0, 0, 0, 0), abs=1e-9)
    if beta == 1:
        assert model.negative_log_likelihood == pytest.approx(-model.elbo)
    other = replace(model, decoder=(weight + 0.05, np.zeros(PIXELS)))
    assert other.distortion + beta * other.rate > exact.distortion + beta * exact.rate + 0.01
