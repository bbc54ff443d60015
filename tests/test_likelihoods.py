import math

import numpy as np
import pytest
import torch
from torch import distributions

from builders import random
from vaelab.errors import UserError
from vaelab.likelihoods import Bernoulli, Gaussian, sum_pixels

S, B, SHAPE = 2, 3, (2, 4, 5)
PIXELS = math.prod(SHAPE)


@pytest.fixture
def decoded() -> torch.Tensor:
    return torch.randn(S, B, *SHAPE, generator=random(), dtype=torch.float64)


@pytest.fixture
def binary() -> torch.Tensor:
    return (torch.rand(B, *SHAPE, generator=random(1)) > 0.5).double()


def test_pixels_are_summed_not_averaged():
    assert sum_pixels(torch.full((S, B, *SHAPE), 0.5)).tolist() == [[0.5 * PIXELS] * B] * S


def test_bernoulli_log_prob_is_the_sum_over_pixels(decoded, binary):
    expected = distributions.Independent(distributions.Bernoulli(logits=decoded), 3).log_prob(
        binary.expand_as(decoded)
    )
    assert expected.shape == (S, B)
    torch.testing.assert_close(Bernoulli().log_prob(binary, decoded), expected)


def test_bernoulli_mean_is_the_probability(decoded):
    expected = distributions.Bernoulli(logits=decoded).mean
    torch.testing.assert_close(Bernoulli().mean(decoded), expected)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
def test_gaussian_log_prob_is_the_sum_over_pixels(decoded, sigma):
    x = torch.randn(B, *SHAPE, generator=random(1), dtype=torch.float64)
    likelihood = Gaussian(sigma).double()
    normal = distributions.Normal(decoded, likelihood.sigma)
    expected = distributions.Independent(normal, 3).log_prob(x.expand_as(decoded))
    torch.testing.assert_close(likelihood.log_prob(x, decoded), expected)
    assert likelihood.sigma.item() == pytest.approx(sigma)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
def test_a_perfect_reconstruction_costs_the_gaussian_constant(sigma):
    x = torch.zeros(B, *SHAPE)
    distortion = -Gaussian(sigma).log_prob(x, x[None])
    constant = PIXELS / 2 * math.log(2 * math.pi * sigma**2)
    np.testing.assert_allclose(distortion.numpy(), np.full((1, B), constant), rtol=1e-5)


def test_halving_sigma_makes_the_error_cost_four_times_as_much(decoded):
    x = torch.zeros(B, *SHAPE, dtype=torch.float64)

    def error_cost(sigma: float) -> torch.Tensor:
        likelihood = Gaussian(sigma).double()
        return likelihood.log_prob(x, x[None]) - likelihood.log_prob(x, decoded)

    torch.testing.assert_close(error_cost(0.25), 4 * error_cost(0.5))
    torch.testing.assert_close(error_cost(0.5), decoded.square().sum((-3, -2, -1)) / 0.5)


def test_gaussian_mean_is_what_the_decoder_says(decoded):
    assert torch.equal(Gaussian(0.1).mean(decoded), decoded)


def test_sigma_is_a_buffer_that_checkpoints_leave_out():
    likelihood = Gaussian(0.25)
    assert dict(likelihood.named_buffers())["sigma"].shape == ()
    assert likelihood.state_dict() == {}


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_sigma_must_be_a_positive_number(sigma):
    with pytest.raises(UserError, match=r"likelihood\.sigma must be a number above 0"):
        Gaussian(sigma)


def test_bernoulli_takes_data_from_zero_to_one():
    Bernoulli().check(0.0, 1.0)
    Bernoulli().check(0.2, 0.7)


@pytest.mark.parametrize(("low", "high"), [(-0.1, 1.0), (0.0, 1.01), (0.0, 255.0)])
def test_bernoulli_refuses_other_data(low, high):
    with pytest.raises(UserError, match=r"likelihood=bernoulli .* \[0, 1\].*likelihood=gaussian") as caught:
        Bernoulli().check(low, high)
    assert f"{low:g}, {high:g}" in str(caught.value)


def test_gaussian_takes_any_data():
    Gaussian(0.1).check(-1e3, 1e3)
