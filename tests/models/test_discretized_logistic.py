"""The discretised logistic: 256 probabilities that sum to one, against scipy's logistic distribution."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from builders import random
from vaelab.models.likelihoods import DiscretizedLogistic
from vaelab.models.likelihoods.discretized_logistic import (
    clipped_logistic_mean,
    discretized_logistic_log_prob,
)

LEVELS = torch.arange(256, dtype=torch.float64) / 255
CASES = [
    (loc, scale) for loc in (-3.0, -0.1, 0.0, 0.31, 0.5, 1.0, 1.7) for scale in (1e-3, 0.02, 0.1, 1.0, 20.0)
]


def log_probs(loc: float, scale: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """log P of each of the 256 values."""
    at = torch.tensor(loc, dtype=dtype)
    return discretized_logistic_log_prob(LEVELS.to(dtype), at, torch.tensor(math.log(scale), dtype=dtype))


@pytest.mark.parametrize(("loc", "scale"), CASES)
def test_the_256_probabilities_sum_to_one(loc, scale):
    assert log_probs(loc, scale).logsumexp(0).item() == pytest.approx(0, abs=1e-12)
    assert log_probs(loc, scale, torch.float32).logsumexp(0).item() == pytest.approx(0, abs=2e-5)
    assert log_probs(loc, scale).max() <= 0


@pytest.mark.parametrize(("loc", "scale"), [(0.31, 0.02), (0.5, 0.1), (-0.1, 1.0), (1.7, 0.5)])
def test_each_is_the_mass_of_its_bin(loc, scale):
    logistic = stats.logistic(loc, scale)
    edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 255, [np.inf]])
    upper_half = edges[:-1] > loc  # there the survival function has the digits
    mass = np.where(upper_half, -np.diff(logistic.sf(edges)), np.diff(logistic.cdf(edges)))
    np.testing.assert_allclose(log_probs(loc, scale).exp().numpy(), mass, rtol=1e-9, atol=1e-300)


def test_the_tails_are_stable_in_float32():
    # mu = 0, s = 0.001: the white pixel lies 1000 scales away, where both sigmoids are 1
    loc = torch.zeros((), requires_grad=True)
    log_scale = torch.tensor(math.log(1e-3), requires_grad=True)
    middle, white = discretized_logistic_log_prob(torch.tensor([128 / 255, 1.0]), loc, log_scale)
    width = math.log(2 * math.sinh(1 / 510 / 1e-3))  # F(b) - F(a) -> e^-a - e^-b
    assert middle.item() == pytest.approx(-128 / 255 * 1000 + width, rel=1e-6)
    assert white.item() == pytest.approx(-(1 - 1 / 510) * 1000, rel=1e-6)
    (middle + white).backward()
    assert loc.grad.item() == pytest.approx(2000, rel=1e-5)
    assert log_scale.grad.isfinite()


def test_gradients_are_finite_differences():
    x = torch.tensor([0, 1, 100, 254, 255], dtype=torch.float64)[:, None] / 255
    loc = torch.tensor([-0.4, 0.0, 0.4, 1.0, 1.3], dtype=torch.float64, requires_grad=True)
    log_scale = torch.tensor([-5.0, -3.0, -2.0, -1.0, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: discretized_logistic_log_prob(x, a, b), (loc, log_scale))
    assert torch.autograd.gradcheck(clipped_logistic_mean, (loc, log_scale))


@pytest.mark.parametrize(("loc", "scale"), CASES)
def test_the_mean_is_that_of_the_256_values_to_half_a_level(loc, scale):
    exact = (log_probs(loc, scale).exp() * LEVELS).sum().item()
    one = torch.tensor(loc, dtype=torch.float64)
    mean = clipped_logistic_mean(one, torch.tensor(math.log(scale), dtype=torch.float64)).item()
    assert mean == pytest.approx(exact, abs=1 / 510 if scale < 1 / 255 else 1e-5)


@pytest.mark.parametrize("per_pixel", [False, True])
def test_an_image_is_the_sum_of_its_pixels(per_pixel):
    likelihood = DiscretizedLogistic(0.05, per_pixel).double()
    x = torch.randint(256, (3, 2, 4, 5), generator=random()).double() / 255
    loc = torch.rand(2, 3, 2, 4, 5, generator=random(1), dtype=torch.float64)
    output = torch.rand(2, 3, 2, 4, 5, generator=random(2), dtype=torch.float64)
    decoded = torch.cat([loc, output], dim=2) if per_pixel else loc
    scale = (0.05 * output.exp() if per_pixel else torch.full_like(loc, 0.05)).numpy()
    logistic = stats.logistic(loc.numpy(), scale)
    lower = np.where(x > 0, logistic.cdf(x.numpy() - 1 / 510), 0)
    upper = np.where(x < 1, logistic.cdf(x.numpy() + 1 / 510), 1)
    expected = np.log(upper - lower).sum((2, 3, 4))
    assert decoded.shape[2] == 2 * likelihood.parameters_per_channel
    # a predicted scale has a floor far below these
    np.testing.assert_allclose(
        likelihood.log_prob(x, decoded).detach().numpy(), expected, rtol=5e-3 if per_pixel else 1e-6
    )
    assert likelihood.mean(decoded).shape == loc.shape


def test_a_predicted_scale_has_a_floor():
    likelihood = DiscretizedLogistic(0.1, per_pixel=True)
    decoded = torch.cat(
        [torch.full((1, 1, 1, 1, 1), 0.5), torch.full((1, 1, 1, 1, 1), -1e4)], dim=2
    ).requires_grad_()
    log_prob = likelihood.log_prob(torch.zeros(1, 1, 1, 1), decoded)
    log_prob.sum().backward()
    assert log_prob.item() == pytest.approx(-(0.5 - 1 / 510) * math.exp(8), rel=1e-4)
    assert decoded.grad.isfinite().all()


def test_it_takes_8_bit_images_only():
    DiscretizedLogistic().check(0.0, 1.0, levels=256)
    DiscretizedLogistic().check(0.0, 1.0, levels=2)
    with pytest.raises(ValueError, match=r"needs 8-bit images, of values k/255 in \[0, 1\]"):
        DiscretizedLogistic().check(0.0, 1.0, levels=None)
    levels = LEVELS.float().view(1, 1, 16, 16)
    assert DiscretizedLogistic().discrete(levels)
    assert not DiscretizedLogistic().discrete(levels + 0.001)
    assert not DiscretizedLogistic().discrete(torch.full((1, 1, 1, 1), 256 / 255))
