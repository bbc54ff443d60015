"""The continuous Bernoulli against quadrature, finite differences, torch's own and its samples."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import distributions

from builders import random
from support.chance import SIGMAS
from vaelab.models.likelihoods import ContinuousBernoulli
from vaelab.models.likelihoods.bernoulli import NEAR_ZERO, continuous_bernoulli_mean, log_sinhc

LAMBDAS = [1e-6, 1e-3, 0.05, 0.3, 0.4, 0.49, 0.5 - 1e-6, 0.5, 0.5 + 1e-6, 0.501, 0.56, 0.7, 0.95, 1 - 1e-6]


def logit(value: float) -> torch.Tensor:
    return torch.tensor([math.log(value / (1 - value))], dtype=torch.float64)


def density(x: float, value: float) -> float:
    """p(x) at one pixel, as the likelihood has it."""
    one = torch.full((1, 1, 1, 1), x, dtype=torch.float64)
    return ContinuousBernoulli().log_prob(one, logit(value).view(1, 1, 1, 1, 1)).exp().item()


@pytest.mark.parametrize("value", LAMBDAS)
def test_the_normaliser_is_the_one_of_quadrature(value):
    # C = 1 / integral of l^x (1-l)^(1-x), and at x = 1/2 the density is C sqrt(l (1-l))
    mass, _ = integrate.quad(lambda x: value**x * (1 - value) ** (1 - x), 0, 1, epsabs=1e-14, epsrel=1e-13)
    normaliser = density(0.5, value) / math.sqrt(value * (1 - value))
    assert normaliser == pytest.approx(1 / mass, rel=1e-11)
    assert density(0.2, value) == pytest.approx(value**0.2 * (1 - value) ** 0.8 / mass, rel=1e-10)


@pytest.mark.parametrize("value", LAMBDAS)
def test_the_mean_is_the_one_of_quadrature(value):
    first, _ = integrate.quad(lambda x: x * density(x, value), 0, 1, epsabs=1e-13, epsrel=1e-12)
    assert continuous_bernoulli_mean(logit(value)).item() == pytest.approx(first, rel=1e-10)


def test_log_prob_and_mean_are_torchs():
    decoded = 3 * torch.randn(2, 3, 2, 4, 5, generator=random(), dtype=torch.float64)
    x = torch.rand(3, 2, 4, 5, generator=random(1), dtype=torch.float64)
    theirs = distributions.ContinuousBernoulli(logits=decoded, lims=(0.4999, 0.5001))
    expected = distributions.Independent(theirs, 3).log_prob(x.expand_as(decoded))
    torch.testing.assert_close(ContinuousBernoulli().log_prob(x, decoded), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ContinuousBernoulli().mean(decoded), theirs.mean, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("value", [0.02, 0.35, 0.5, 0.9])
def test_the_mean_is_that_of_samples(value):
    u = np.random.default_rng(0).random(400_000)
    # the inverse of F(x) = (l^x (1-l)^(1-x) + l - 1) / (2l - 1)
    odds = math.log(value / (1 - value))
    x = u if value == 0.5 else np.log1p(u * (2 * value - 1) / (1 - value)) / odds
    error = x.std() / math.sqrt(len(x))
    assert abs(continuous_bernoulli_mean(logit(value)).item() - x.mean()) < SIGMAS * error
    assert abs(x.mean() - value) > 0.02 or value == 0.5  # lambda is not the mean


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_differences_across_the_seam_and_zero(dtype):
    around = [0.0, 1e-30, 1e-8, 1e-4, 0.01, NEAR_ZERO - 1e-3, NEAR_ZERO, NEAR_ZERO + 1e-3, 1.0, 20.0, 300.0]
    y = torch.tensor([*(-value for value in around), *around], dtype=dtype, requires_grad=True)
    log_sinhc(y).sum().backward()
    step = 1e-3
    exact = y.detach().double()
    # sinh(y)/y in extended precision; its logarithm by the asymptote where it would overflow
    wide = exact.numpy().astype(np.longdouble)

    def reference(v: np.ndarray) -> np.ndarray:
        v = np.abs(v)
        small = np.where(v < 1e-3, v, 0)
        safe = np.where(v < 1e-3, 1, v)
        return np.where(v < 1e-3, small**2 / 6, safe + np.log1p(-np.exp(-2 * safe)) - np.log(2 * safe))

    slope = ((reference(wide + step) - reference(wide - step)) / (2 * step)).astype(float)
    tolerance = 2e-6 if dtype == torch.float32 else 1e-6
    np.testing.assert_allclose(y.grad.double().numpy(), slope, atol=tolerance)
    np.testing.assert_allclose(
        log_sinhc(y).detach().double().numpy(), reference(wide).astype(float), rtol=1e-6, atol=1e-7
    )


def test_second_derivatives_agree_with_finite_differences():
    y = torch.tensor([-2.0, -0.25, -0.1, 0.0, 0.2, 0.3, 5.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(log_sinhc, y, atol=1e-7)
    assert torch.autograd.gradgradcheck(log_sinhc, y, atol=1e-6)
    assert torch.autograd.gradcheck(continuous_bernoulli_mean, y, atol=1e-7)


def test_the_mean_is_the_derivative_of_the_log_normaliser():
    eta = torch.linspace(-30, 30, 301, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(log_sinhc(eta / 2).sum() + (eta / 2).sum(), eta)
    torch.testing.assert_close(continuous_bernoulli_mean(eta).detach(), slope, rtol=1e-9, atol=1e-11)


def test_far_logits_stay_finite_in_float32():
    decoded = torch.tensor([-1e4, -90.0, 90.0, 1e4]).view(4, 1, 1, 1, 1).requires_grad_()
    log_prob = ContinuousBernoulli().log_prob(torch.full((1, 1, 1, 1), 0.25), decoded)
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert decoded.grad.isfinite().all()
    expected = torch.tensor([1e-4, 1 / 90, 1 - 1 / 90, 1 - 1e-4])
    torch.testing.assert_close(ContinuousBernoulli().mean(decoded).flatten(), expected, atol=1e-6, rtol=0)


def test_it_takes_data_from_zero_to_one_only():
    ContinuousBernoulli().check(0.0, 1.0)
    with pytest.raises(ValueError, match=r"a continuous Bernoulli likelihood needs pixels in \[0, 1\]"):
        ContinuousBernoulli().check(-0.1, 1.0)


def test_float32_is_as_accurate_as_float32_can_be():
    """Near the seam and near 0 the closed form cancels; the reference is the same formula in float64."""
    decoded = torch.cat([torch.linspace(-2, 2, 4001), torch.linspace(-40, 40, 801)]).view(-1, 1, 1, 1, 1)
    x = torch.full((1, 1, 1, 1), 0.3)
    for of in (lambda d: ContinuousBernoulli().log_prob(x.to(d), d), ContinuousBernoulli().mean):
        torch.testing.assert_close(of(decoded).double(), of(decoded.double()), rtol=1e-6, atol=5e-7)
