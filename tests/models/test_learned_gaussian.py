"""sigma-VAE's likelihood, its optimum and its switch, and the predicted sigma."""

import itertools
import math

import pytest
import torch
from torch import distributions

from builders import elbo_terms, random
from vaelab.functional.closed_forms import gaussian_images, linear_beta_vae
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.likelihoods import Gaussian, LearnedGaussian, PredictedGaussian
from vaelab.models.networks import linear
from vaelab.models.objectives import Objective
from vaelab.models.posteriors import DiagonalGaussian
from vaelab.models.priors import StandardNormal
from vaelab.types import Noise

S, B, SHAPE = 2, 3, (2, 4, 5)


@pytest.fixture
def decoded() -> torch.Tensor:
    return torch.randn(S, B, *SHAPE, generator=random(), dtype=torch.float64)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(B, *SHAPE, generator=random(1), dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("optimal", [False, True])
def test_held_out_it_is_the_normal_density_of_the_learned_sigma(decoded, x, sigma, optimal):
    likelihood = LearnedGaussian(sigma, optimal).double().eval()
    expected = distributions.Independent(distributions.Normal(decoded, sigma), 3).log_prob(
        x.expand_as(decoded)
    )
    torch.testing.assert_close(likelihood.log_prob(x, decoded), expected, rtol=1e-6, atol=0)
    assert likelihood.sigma().item() == pytest.approx(sigma)
    # image by image: it does not matter who else is in the batch
    torch.testing.assert_close(likelihood.log_prob(x[:1], decoded[:, :1]), expected[:, :1], rtol=1e-6, atol=0)


def test_the_gradient_of_log_sigma_is_zero_where_the_variance_is_the_mean_squared_error(decoded, x):
    mse = (x - decoded).square().mean().item()
    slopes = []
    for factor in (0.5, 1.0, 2.0):
        likelihood = LearnedGaussian(math.sqrt(mse * factor)).double()
        (-likelihood.log_prob(x, decoded)).mean().backward()
        slopes.append(likelihood.sigma.raw.grad.item() / likelihood.sigma.SPEED)
    # d/d log sigma of D/2 (MSE / sigma^2 + log sigma^2) = D (1 - MSE / sigma^2)
    assert slopes == pytest.approx([-40, 0, 20], abs=1e-4)


def test_optimal_training_takes_the_batchs_own_sigma(decoded, x):
    likelihood = LearnedGaussian(0.3, optimal=True).double()
    mse = (x - decoded).square().mean()
    distortion = -likelihood.log_prob(x, decoded)
    assert distortion.mean().item() == pytest.approx(20 * (math.log(2 * math.pi * mse) + 1))
    torch.testing.assert_close(
        distortion, -Gaussian(mse.sqrt().item()).double().log_prob(x, decoded), rtol=1e-6, atol=0
    )


def test_no_sigma_is_better_for_the_batch_than_the_optimal_one(decoded, x):
    best = LearnedGaussian(0.3, optimal=True).double().log_prob(x, decoded).mean()
    sigmas = torch.linspace(0.5, 4, 300).tolist()
    others = [Gaussian(sigma).double().log_prob(x, decoded).mean() for sigma in sigmas]
    assert max(others) <= best
    assert max(others) == pytest.approx(best.item(), rel=1e-4)


def test_optimal_trains_the_decoder_with_the_batchs_sigma_and_sigma_by_its_own_likelihood(decoded, x):
    decoded.requires_grad_()
    optimal, learned = LearnedGaussian(0.3, optimal=True).double(), LearnedGaussian(0.3).double()
    mse = (x - decoded).square().mean().item()
    (-optimal.log_prob(x, decoded)).mean().backward()
    # D/2 log MSE by the decoder's output: (decoded - x) / (MSE S B), as a fixed sigma^2 = MSE has it
    expected = (decoded - x).detach() / (mse * S * B)
    torch.testing.assert_close(decoded.grad, expected)
    (-learned.log_prob(x, decoded.detach())).mean().backward()
    torch.testing.assert_close(optimal.sigma.raw.grad, learned.sigma.raw.grad)


@pytest.mark.parametrize("optimal", [False, True])
@pytest.mark.parametrize("start", [1.0, 5.0])
def test_it_is_learned_until_its_square_is_the_error(optimal, start):
    error = 0.3
    x = error * torch.randn(64, 1, 8, 8, generator=random())
    likelihood = LearnedGaussian(start, optimal)
    adam = torch.optim.Adam(likelihood.parameters(), lr=1e-3)
    for _ in range(1200):
        adam.zero_grad()
        (-likelihood.log_prob(x, torch.zeros(1, 64, 1, 8, 8))).mean().backward()
        adam.step()
    assert likelihood.sigma().item() ** 2 == pytest.approx(x.square().mean().item(), rel=0.01)


# predicted


def test_predicted_sigmas_are_the_second_half_of_the_channels(decoded, x):
    likelihood = PredictedGaussian(0.5, least=1e-6).double()
    output = torch.randn(S, B, *SHAPE, generator=random(2), dtype=torch.float64)
    normal = distributions.Normal(decoded, 0.5 * output.exp())
    expected = distributions.Independent(normal, 3).log_prob(x.expand_as(decoded))
    both = torch.cat([decoded, output], dim=2)
    torch.testing.assert_close(likelihood.log_prob(x, both), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(likelihood.mean(both), decoded)
    assert likelihood.state_dict() == {}


def test_no_predicted_sigma_is_below_the_floor():
    likelihood = PredictedGaussian(0.1, least=0.01)
    both = torch.tensor([0.0, -50.0]).view(1, 1, 2, 1, 1).requires_grad_()
    log_prob = likelihood.log_prob(torch.zeros(1, 1, 1, 1), both)
    log_prob.sum().backward()
    assert log_prob.item() == pytest.approx(-math.log(0.01 * math.sqrt(2 * math.pi)), rel=1e-5)
    assert both.grad.isfinite().all()


# the optimum of a linear model, known exactly


@pytest.mark.parametrize("optimal", [False, True])
@pytest.mark.parametrize("beta", [1.0, 1.5])
def test_a_linear_model_learns_the_sigma_of_the_closed_form(beta, optimal):
    # At the optimum of linear_beta_vae with sigma free: D sigma^2 = beta q sigma^2 + sum of the inactive l_i.
    # At beta = 1 it is the mean of the discarded eigenvalues (Tipping & Bishop, 1999).
    eigenvalues, q = [4.0, 2.0, 1.5, 0.3, 0.2, 0.1], 3
    x = torch.from_numpy(gaussian_images(eigenvalues, 100)).double().view(100, 1, 1, 6)
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=q)), dtype=torch.float64)
    noise = Noise(corners[:, None].expand(-1, 100, -1), torch.zeros(100, q, dtype=torch.float64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder, decoder = linear((1, 1, 6), q, 2 * q, 1)
    parts = DiagonalGaussian(q), StandardNormal(), LearnedGaussian(1.0, optimal)
    model = Autoencoder(encoder, decoder, *parts, Objective(elbo_terms(beta))).double()
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(1200):
        adam.param_groups[0]["lr"] = 1e-2 if step < 900 else 1e-3
        adam.zero_grad()
        loss = model(x, noise).loss
        loss.backward()
        adam.step()
    variance = sum(eigenvalues[q:]) / (6 - beta * q)
    assert model.likelihood.sigma().item() ** 2 == pytest.approx(variance, rel=0.01)
    exact = linear_beta_vae(eigenvalues, math.sqrt(variance), beta, q)
    assert loss.item() == pytest.approx(exact.distortion + beta * exact.rate, rel=1e-3)
