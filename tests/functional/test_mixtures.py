"""The Gaussian mixture against scipy, scikit-learn and a mixture that is known."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn import mixture

from builders import random
from support.chance import SIGMAS
from vaelab.functional.mixtures import GaussianMixture, fit_gaussian_mixture

WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
MEANS = torch.tensor([[0.0, 0.0], [4.0, 1.0], [-3.0, 3.0]])
COVARIANCES = torch.tensor([[[1.0, 0.6], [0.6, 1.0]], [[0.2, 0.0], [0.0, 2.0]], [[0.5, -0.4], [-0.4, 0.5]]])


def planted() -> GaussianMixture:
    return GaussianMixture(WEIGHTS, MEANS, COVARIANCES)


def log_density(z: torch.Tensor) -> np.ndarray:
    """Of the planted mixture, by scipy."""
    parts = [
        np.log(w) + multivariate_normal(m, c).logpdf(z.double().numpy())
        for w, m, c in zip(WEIGHTS.numpy(), MEANS.numpy(), COVARIANCES.double().numpy(), strict=True)
    ]
    return logsumexp(np.stack(parts), axis=0)


def test_the_log_density_is_scipys():
    z = 4 * torch.randn(50, 2, generator=random())
    np.testing.assert_allclose(planted().log_prob(z), log_density(z), rtol=1e-10)
    assert planted().log_prob(z.view(5, 10, 2)).shape == (5, 10)


def test_samples_have_the_moments_of_the_mixture():
    n = 40_000
    z = planted().sample(n, seed=3)
    assert z.dtype == torch.float32
    assert torch.equal(planted().sample(n, seed=3), z)
    z = z.double()
    mean = (WEIGHTS[:, None] * MEANS).sum(0).double()
    spread = MEANS.double() - mean
    within = COVARIANCES.double() + spread[:, :, None] * spread[:, None, :]
    covariance = (WEIGHTS[:, None, None] * within).sum(0)
    assert ((z.mean(0) - mean).abs() < SIGMAS * (covariance.diagonal() / n).sqrt()).all()
    torch.testing.assert_close(z.T.cov(), covariance, rtol=0.04, atol=0.05)


def test_a_planted_mixture_is_found_again():
    """Its held-out log density falls short of the truth's by KL(truth || fit) alone."""
    fitted = fit_gaussian_mixture(planted().sample(20_000, seed=1), components=3)
    assert fitted.converged
    order = fitted.parts.loc[:, 0].argsort()
    torch.testing.assert_close(fitted.weights[order], WEIGHTS[[2, 0, 1]], atol=0.015, rtol=0)
    torch.testing.assert_close(fitted.parts.loc[order].float(), MEANS[[2, 0, 1]], atol=0.05, rtol=0)
    torch.testing.assert_close(
        fitted.parts.covariance_matrix[order].float(), COVARIANCES[[2, 0, 1]], atol=0.1, rtol=0
    )
    z = planted().sample(20_000, seed=2)
    lost = log_density(z) - fitted.log_prob(z).numpy()
    assert -0.001 < lost.mean() < 0.003


def test_it_is_scikit_learns_fit():
    z = planted().sample(500, seed=1)
    reference = mixture.GaussianMixture(4, random_state=7).fit(z.double().numpy())
    fitted = fit_gaussian_mixture(z, components=4, seed=7)
    np.testing.assert_allclose(fitted.log_prob(z), reference.score_samples(z.double().numpy()), rtol=1e-9)


@pytest.mark.parametrize(("n", "components"), [(2, 1), (5, 1), (11, 3), (400, 10)])
def test_each_component_has_codes_enough_for_its_covariance(n, components):
    assert fit_gaussian_mixture(torch.randn(n, 2, generator=random())).components == components


@pytest.mark.parametrize("codes", [torch.ones(60, 3), torch.tensor([[0.0], [1.0]]).repeat(40, 1)])
def test_codes_that_coincide_can_be_fitted(codes):
    density = fit_gaussian_mixture(codes)
    assert density.log_prob(codes).isfinite().all()
    nearest = (density.sample(30)[:, None] - codes).abs().amax(-1).amin(1)
    assert nearest.max() < 0.02  # the least variance is 1e-6


def test_codes_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        fit_gaussian_mixture(torch.tensor([[0.0], [torch.nan], [1.0]]))
