"""The R = 0 end: the best output of a decoder that ignores z, against scipy's optimisers and closed forms."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from scipy import optimize
from sklearn.datasets import load_digits
from torch import Tensor

from vaelab.models.likelihoods import (
    Bernoulli,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    Laplace,
    LearnedGaussian,
    Likelihood,
    PredictedGaussian,
)

SHAPE = (1, 2, 3)

LIKELIHOODS = {
    "bernoulli": Bernoulli(),
    "continuous": ContinuousBernoulli(),
    "gaussian": Gaussian(0.3),
    "laplace": Laplace(0.2),
    "learned": LearnedGaussian(),
    "predicted": PredictedGaussian(),
    "logistic": DiscretizedLogistic(),
    "logistic per pixel": DiscretizedLogistic(per_pixel=True),
}


@pytest.fixture
def images() -> Tensor:
    """800 grey images of 6 pixels, each pixel with a Beta distribution of its own, in 256 levels."""
    random = np.random.default_rng(0)
    x = random.beta([1, 2, 3, 2, 5, 1.5], [3, 2, 1, 4, 5, 1.5], size=(800, 6))
    return torch.tensor(np.round(255 * x) / 255, dtype=torch.float32).reshape(-1, *SHAPE)


def distortion(likelihood: Likelihood, theta: Tensor, x: Tensor) -> Tensor:
    return -likelihood.log_prob(x, theta.expand(1, len(x), *theta.shape))[0]


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_no_other_constant_output_has_a_lower_distortion(images: Tensor, name: str):
    """Gradient descent by scipy from another start finds nothing lower by more than the one image added."""
    given = deepcopy(LIKELIHOODS[name])
    likelihood, (theta,) = given.constant([images])
    found = distortion(likelihood, theta, images).mean().item()
    free = list(given.parameters())  # a learned scale is free too

    def value(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        output = torch.tensor(numbers[: theta.numel()], dtype=torch.float32).reshape(theta.shape)
        output.requires_grad_()
        with torch.no_grad():
            for parameter, number in zip(free, numbers[theta.numel() :], strict=True):
                parameter.fill_(number)
        loss = distortion(given, output, images).mean()
        gradients = torch.autograd.grad(loss, [output, *free])
        return loss.item(), np.concatenate([g.reshape(-1).double().numpy() for g in gradients])

    start = np.concatenate([np.full(theta.numel(), 0.1), [p.item() for p in free]])
    best = optimize.minimize(value, start, jac=True, method="L-BFGS-B").fun
    assert best - 1e-4 <= found <= best + 5e-3


def test_bernoulli_is_the_entropy_of_the_mean_image():
    """The digits' value that science.md gives for a test split, 27.17, within its sampling error."""
    x = torch.tensor(load_digits().images / 16, dtype=torch.float32)[:, None]
    train, test = x[:1437], x[1437:]
    likelihood, (theta,) = Bernoulli().constant([train])
    values = distortion(likelihood, theta, test)
    mean = x.mean(0).clamp(1e-9, 1 - 1e-9)
    entropy = -(mean * mean.log() + (1 - mean) * (1 - mean).log()).sum().item()
    _, (of_all,) = Bernoulli().constant([x])
    assert distortion(Bernoulli(), of_all, x).mean().item() == pytest.approx(entropy, abs=0.02)
    assert abs(values.mean().item() - 27.17) < 4 * values.std().item() / math.sqrt(len(test))


@pytest.mark.parametrize("name", ["bernoulli", "continuous"])
def test_a_pixel_that_was_always_black_may_be_lit_later(name: str):
    x = torch.zeros(100, *SHAPE)
    x[::2, 0, 0, 0] = 1
    likelihood, (theta,) = LIKELIHOODS[name].constant([x])
    assert theta.isfinite().all()
    lit = torch.ones(1, *SHAPE)
    assert distortion(likelihood, theta, lit).isfinite().all()


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_images_of_one_value_have_a_finite_constant(name: str, value: float):
    """A probability of the images is 1: 0 nats. A density has the value of its own formula."""
    x = torch.full((5000, *SHAPE), value)
    likelihood, (theta,) = deepcopy(LIKELIHOODS[name]).constant([x])
    found = distortion(likelihood, theta, x.double()).mean().item()
    mean = 0.5 / 30001 / 5001  # of 5000 images of 6 pixels, one pixel of 1/2 and the image added
    expected = {
        "bernoulli": -6 * math.log1p(-mean),
        "continuous": 6 * math.log(mean),  # an exponential density of this mean, at 0
        "gaussian": 3 * math.log(2 * math.pi * 0.3**2),
        "laplace": 6 * math.log(2 * 0.2),
        "learned": 3 * math.log(2 * math.pi * 1e-12),
        "predicted": 3 * math.log(2 * math.pi * 0.002**2),
        "logistic": 0.0,
        "logistic per pixel": 0.0,
    }
    assert found == pytest.approx(expected[name], rel=1e-4, abs=2e-4)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_each_group_has_its_own_output_and_all_have_one_scale(images: Tensor, name: str):
    """Without a learned scale each is as if alone; with one, between alone and one output for all."""
    groups = [images[:300], (127.5 + 127.5 * images[300:]).round() / 255]

    def least(*parts: Tensor) -> tuple[float, Tensor]:
        likelihood, thetas = deepcopy(LIKELIHOODS[name]).constant(parts)
        values = [distortion(likelihood, t, x).sum().item() for t, x in zip(thetas, parts, strict=True)]
        return math.fsum(values), thetas

    (together, thetas), (one, _) = least(*groups), least(torch.cat(groups))
    alone = [least(group) for group in groups]
    if name in ("learned", "logistic"):
        assert sum(value for value, _ in alone) + 1 < together < one - 1
    else:
        assert torch.equal(thetas, torch.cat([theta for _, theta in alone]))


def test_the_learned_scale_is_the_root_mean_squared_error(images: Tensor):
    likelihood, (theta,) = LearnedGaussian().constant([images])
    error = (images - images.mean(0)).square().mean().item()
    expected = images[0].numel() / 2 * (math.log(2 * math.pi * error) + 1)
    assert distortion(likelihood, theta, images).mean().item() == pytest.approx(expected, rel=1e-5)


def test_the_least_distortion_is_that_of_a_perfect_reconstruction(images: Tensor):
    x = images.clamp(0.01, 0.99)
    for name in ("bernoulli", "gaussian", "laplace"):
        likelihood = LIKELIHOODS[name]
        output = x.logit() if name == "bernoulli" else x
        expected = -likelihood.log_prob(x, output[None])[0]
        assert torch.allclose(likelihood.least_distortion(x), expected, atol=1e-4)
    assert torch.equal(LIKELIHOODS["logistic"].least_distortion(images), torch.zeros(800))
    assert torch.equal(Bernoulli().least_distortion(images.round()), torch.zeros(800))
    for name in ("continuous", "learned", "predicted"):
        assert LIKELIHOODS[name].least_distortion(x).eq(-math.inf).all()
