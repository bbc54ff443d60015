import math

import pytest
import torch
from torch import distributions

from builders import random
from vaelab.models.likelihoods import (
    Bernoulli,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    Laplace,
    LearnedGaussian,
    PredictedGaussian,
)

S, B, SHAPE = 2, 3, (2, 4, 5)
PIXELS = math.prod(SHAPE)


@pytest.fixture
def decoded() -> torch.Tensor:
    return torch.randn(S, B, *SHAPE, generator=random(), dtype=torch.float64)


@pytest.fixture
def binary() -> torch.Tensor:
    return (torch.rand(B, *SHAPE, generator=random(1)) > 0.5).double()


def test_bernoulli_is_torchs(decoded, binary):
    theirs = distributions.Bernoulli(logits=decoded)
    expected = distributions.Independent(theirs, 3).log_prob(binary.expand_as(decoded))
    assert expected.shape == (S, B)
    torch.testing.assert_close(Bernoulli().log_prob(binary, decoded), expected)
    torch.testing.assert_close(Bernoulli().mean(decoded), theirs.mean)


@pytest.mark.parametrize("scale", [0.1, 0.5, 2.0])
@pytest.mark.parametrize(
    ("likelihood", "theirs"), [(Gaussian, distributions.Normal), (Laplace, distributions.Laplace)]
)
def test_gaussian_and_laplace_are_torchs(decoded, likelihood, theirs, scale):
    x = torch.randn(B, *SHAPE, generator=random(1), dtype=torch.float64)
    found = likelihood(scale).double()
    expected = distributions.Independent(theirs(decoded, scale), 3).log_prob(x.expand_as(decoded))
    torch.testing.assert_close(found.log_prob(x, decoded), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(found.mean(decoded), decoded)
    assert found.state_dict() == {}  # the config holds the scale


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize(
    "make",
    [
        Gaussian,
        Laplace,
        LearnedGaussian,
        PredictedGaussian,
        lambda value: PredictedGaussian(0.1, least=value),
        DiscretizedLogistic,
        lambda value: DiscretizedLogistic(value, per_pixel=True),
    ],
)
def test_scales_are_positive_numbers(make, value):
    with pytest.raises(ValueError, match=r"^(sigma|scale|least) must be a finite number > 0, got"):
        make(value)


@pytest.mark.parametrize(("low", "high"), [(-0.1, 1.0), (0.0, 1.01), (0.0, 255.0)])
def test_bernoulli_takes_data_from_zero_to_one_and_gaussian_any(low, high):
    Bernoulli().check(0.2, 1.0)
    Gaussian(0.1).check(low, high)
    with pytest.raises(ValueError, match=rf"Bernoulli .* \[0, 1\], the data lie in \[{low:g}, {high:g}\]"):
        Bernoulli().check(low, high)


def test_bernoulli_is_a_probability_of_binary_images_alone(binary):
    assert Bernoulli().discrete(binary)
    binary[-1, -1, -1, -1] = 0.5
    assert not Bernoulli().discrete(binary)
    assert not Gaussian(0.1).discrete(binary.round())


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


@pytest.mark.parametrize("name", [Bernoulli, ContinuousBernoulli])
def test_pixels_may_leave_the_unit_interval_by_a_rounding(name):
    name().check(-1e-7, 1.0000001)
    with pytest.raises(ValueError, match=r"\[0, 1.00001\]"):
        name().check(0, 1.00001)
