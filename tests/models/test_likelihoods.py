import math

import numpy as np
import pytest
import torch
from torch import distributions

from builders import random
from vaelab.errors import UserError
from vaelab.models.likelihoods import (
    Bernoulli,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    Laplace,
    LearnedGaussian,
    PredictedGaussian,
    sum_pixels,
)

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


def test_bernoulli_is_a_probability_of_binary_images_alone(binary):
    assert Bernoulli().discrete(binary)
    binary[-1, -1, -1, -1] = 0.5
    assert not Bernoulli().discrete(binary)
    assert not Gaussian(0.1).discrete(binary.round())


# Laplace


@pytest.mark.parametrize("scale", [0.1, 0.5, 2.0])
def test_laplace_log_prob_is_the_sum_over_pixels(decoded, scale):
    x = torch.randn(B, *SHAPE, generator=random(1), dtype=torch.float64)
    expected = distributions.Independent(distributions.Laplace(decoded, scale), 3).log_prob(
        x.expand_as(decoded)
    )
    torch.testing.assert_close(Laplace(scale).log_prob(x, decoded), expected, rtol=1e-6, atol=1e-6)


def test_laplace_mean_is_what_the_decoder_says(decoded):
    assert torch.equal(Laplace(0.1).mean(decoded), decoded)


def test_laplace_scale_is_a_buffer_that_checkpoints_leave_out():
    likelihood = Laplace(0.25)
    assert dict(likelihood.named_buffers())["scale"].shape == ()
    assert likelihood.state_dict() == {}
    assert not likelihood.discrete(torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_laplace_scale_must_be_a_positive_number(scale):
    with pytest.raises(UserError, match=r"likelihood\.scale must be a number above 0"):
        Laplace(scale)


# all of them


LIKELIHOODS = {
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "gaussian": lambda: Gaussian(0.3),
    "learned_gaussian": lambda: LearnedGaussian(0.3),
    "predicted_gaussian": lambda: PredictedGaussian(0.3),
    "laplace": lambda: Laplace(0.3),
    "discretized_logistic": lambda: DiscretizedLogistic(0.3),
    "discretized_logistic per pixel": lambda: DiscretizedLogistic(0.3, per_pixel=True),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_stacked_and_vmapped_it_is_each_by_itself(name):
    likelihoods = [LIKELIHOODS[name]() for _ in range(3)]
    for k, likelihood in enumerate(likelihoods):
        for number in [*likelihood.parameters(), *likelihood.buffers()]:
            number.data += 0.1 * k
    channels = SHAPE[0] * likelihoods[0].parameters_per_channel
    outputs = torch.randn(3, S, B, channels, *SHAPE[1:], generator=random())
    x = (torch.rand(B, *SHAPE, generator=random(1)) * 255).round() / 255
    parameters, buffers = torch.func.stack_module_state(likelihoods)

    def distortion(parameters, buffers, decoded):
        module = Called(likelihoods[0])
        state = {f"inner.{key}": value for key, value in {**parameters, **buffers}.items()}
        return -torch.func.functional_call(module, state, (x, decoded)).mean()

    both = torch.func.vmap(torch.func.grad_and_value(distortion, argnums=2))
    gradients, values = both(parameters, buffers, outputs)
    for k, likelihood in enumerate(likelihoods):
        decoded = outputs[k].clone().requires_grad_()
        alone = -likelihood.log_prob(x, decoded).mean()
        alone.backward()
        torch.testing.assert_close(values[k], alone.detach())
        torch.testing.assert_close(gradients[k], decoded.grad)


class Called(torch.nn.Module):
    """``log_prob`` as ``forward``, which is what functional_call calls."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
        return self.inner.log_prob(x, decoded)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_each_image_is_by_itself_and_each_sample_too(name):
    likelihood = LIKELIHOODS[name]()
    channels = SHAPE[0] * likelihood.parameters_per_channel
    decoded = torch.randn(S, B, channels, *SHAPE[1:], generator=random())
    x = (torch.rand(B, *SHAPE, generator=random(1)) * 255).round() / 255
    together = likelihood.log_prob(x, decoded)
    assert together.shape == (S, B)
    for s in range(S):
        for b in range(B):
            alone = likelihood.log_prob(x[b : b + 1], decoded[s : s + 1, b : b + 1])
            torch.testing.assert_close(together[s, b], alone[0, 0])
    assert likelihood.mean(decoded).shape == (S, B, *SHAPE)
    assert likelihood.discrete(x).shape == ()
    assert likelihood.discrete(x).dtype == torch.bool
