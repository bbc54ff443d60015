import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from builders import random
from vaelab.functional.distributions import (
    bernoulli_cross_entropy,
    gaussian_kl,
    normal_log_prob,
    standard_normal_log_prob,
)

LOC = torch.tensor([-2.0, -0.3, 0.0, 0.7, 3.0], dtype=torch.float64)
LOG_VAR = torch.tensor([-4.0, -0.5, 0.0, 0.8, 2.0], dtype=torch.float64)


def pairs():
    loc, log_var = torch.meshgrid(LOC, LOG_VAR, indexing="ij")
    return loc.flatten(), log_var.flatten()


def test_normal_log_prob_is_that_of_torch():
    loc, log_var = pairs()
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    expected = Normal(loc, (log_var / 2).exp()).log_prob(x)
    torch.testing.assert_close(normal_log_prob(x, loc, log_var), expected, rtol=1e-12, atol=1e-12)


def test_standard_normal_log_prob_is_the_joint_density():
    z = torch.randn(2, 5, 3, generator=random(), dtype=torch.float64)
    expected = MultivariateNormal(z.new_zeros(3), torch.eye(3, dtype=torch.float64)).log_prob(z)
    assert expected.shape == (2, 5)
    torch.testing.assert_close(standard_normal_log_prob(z), expected, rtol=1e-12, atol=1e-12)


def test_gaussian_kl_is_that_of_torch():
    loc, log_var = pairs()
    expected = kl_divergence(Normal(loc, (log_var / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(gaussian_kl(loc, log_var), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("log_var", [-1e-3, -3e-4, 3e-4, 1e-3])
def test_gaussian_kl_keeps_its_digits_near_collapse(log_var):
    log_var = torch.tensor(log_var)
    exact = gaussian_kl(torch.tensor(0.0, dtype=torch.float64), log_var.double())
    single = gaussian_kl(torch.tensor(0.0), log_var)
    naive = 0.5 * (log_var.exp() - log_var - 1)
    assert single.dtype == torch.float32
    assert abs(single.double() - exact) < 1e-3 * exact
    assert abs(naive.double() - exact) > 1e-3 * exact  # the test sees what expm1 is for


def test_bernoulli_cross_entropy_of_binary_pixels_is_minus_the_log_prob():
    logits = torch.linspace(-8, 8, 33, dtype=torch.float64)
    for x in (0.0, 1.0):
        pixels = torch.full_like(logits, x)
        expected = -Bernoulli(logits=logits).log_prob(pixels)
        torch.testing.assert_close(bernoulli_cross_entropy(pixels, logits), expected, rtol=1e-12, atol=1e-12)


def test_bernoulli_cross_entropy_of_grey_pixels():
    logits = torch.linspace(-4, 4, 17, dtype=torch.float64)
    p = 1 / (1 + np.exp(-logits.numpy()))
    for x in (0.1, 0.5, 0.8):
        expected = -x * np.log(p) - (1 - x) * np.log(1 - p)
        found = bernoulli_cross_entropy(torch.full_like(logits, x), logits).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_bernoulli_cross_entropy_is_finite_for_extreme_logits():
    x = torch.tensor([1.0, 1.0, 0.0, 0.0])
    logits = torch.tensor([-1e4, 1e4, -1e4, 1e4], requires_grad=True)
    found = bernoulli_cross_entropy(x, logits)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert found.tolist() == [1e4, 0.0, 0.0, 1e4]
    assert gradient.tolist() == [-1.0, 0.0, 0.0, 1.0]  # sigmoid(logit) - x
