"""Samples x ~ p(x|z) against the densities and probabilities that the likelihoods give."""

import pytest
import torch
from scipy import stats
from torch import Tensor

from builders import random
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

NUMBER = 40_000
CONTINUOUS = {
    "gaussian": (Gaussian(0.3), [0.4]),
    "learned": (LearnedGaussian(0.7).eval(), [-0.2]),
    "optimal": (LearnedGaussian(0.7, optimal=True).eval(), [-0.2]),
    "predicted": (PredictedGaussian(0.5), [0.4, -0.8]),
    "laplace": (Laplace(0.4), [0.3]),
    "continuous_bernoulli": (ContinuousBernoulli(), [2.5]),
    "continuous_bernoulli_negative": (ContinuousBernoulli(), [-6.0]),
    "continuous_bernoulli_flat": (ContinuousBernoulli(), [1e-7]),
}


def samples(likelihood: Likelihood, decoded: list[float]) -> Tensor:
    """NUMBER values of one pixel for which the decoder gives these maps."""
    maps = torch.tensor(decoded, dtype=torch.float64).reshape(1, -1, 1, 1).expand(NUMBER, -1, 1, 1)
    noise = torch.randn(NUMBER, 1, 1, 1, generator=random(), dtype=torch.float64)
    found = likelihood.sample(maps, noise)
    assert found.shape == noise.shape
    assert found.dtype == torch.float64
    return found.flatten()


def log_prob(likelihood: Likelihood, x: Tensor, decoded: list[float]) -> Tensor:
    """log p of single pixels x (N,)."""
    maps = torch.tensor(decoded, dtype=torch.float64).reshape(1, 1, -1, 1, 1)
    return likelihood.log_prob(x.reshape(-1, 1, 1, 1), maps.expand(1, len(x), -1, 1, 1))[0]


@pytest.mark.parametrize("name", CONTINUOUS)
@torch.no_grad()
def test_samples_have_the_density(name):
    """Kolmogorov and Smirnov's test against the density, integrated."""
    likelihood, decoded = CONTINUOUS[name]
    x = samples(likelihood, decoded)
    inside = (0.0, 1.0) if "bernoulli" in name else (-9.0, 9.0)
    grid = torch.linspace(*inside, 40_001, dtype=torch.float64)
    density = log_prob(likelihood, grid, decoded).exp()
    cdf = torch.cat([torch.zeros(1), torch.cumulative_trapezoid(density, grid)])
    assert cdf[-1].item() == pytest.approx(1, abs=1e-4)
    places = torch.searchsorted(grid, x.clamp(*inside)).clamp(max=len(grid) - 1)
    assert stats.kstest(cdf[places].numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("likelihood", "decoded", "levels"),
    [
        (Bernoulli(), [0.8], 2),
        (DiscretizedLogistic(0.01), [0.43], 256),
        (DiscretizedLogistic(0.02), [0.01], 256),
        (DiscretizedLogistic(0.05, per_pixel=True), [0.97, -0.5], 256),
    ],
)
@torch.no_grad()
def test_samples_have_the_probabilities(likelihood, decoded, levels):
    x = samples(likelihood, decoded)
    values = torch.arange(levels, dtype=torch.float64) / (levels - 1)
    shares = log_prob(likelihood, values, decoded).exp()
    assert shares.sum().item() == pytest.approx(1, abs=1e-6)
    expected = NUMBER * shares / shares.sum()
    index = (x * (levels - 1)).round().long()
    torch.testing.assert_close(values[index], x)
    found = torch.bincount(index, minlength=levels)
    common = expected > 5
    pairs = [[*part[common].tolist(), part[~common].sum().item()] for part in (found, expected)]
    if pairs[1][-1] < 5:
        pairs = [[*part[:-2], part[-2] + part[-1]] for part in pairs]
    assert stats.chisquare(*pairs).pvalue > 1e-3


@pytest.mark.parametrize("logit", [-800.0, 800.0, 0.0])
def test_continuous_bernoulli_samples_stay_in_range(logit):
    noise = torch.tensor([-40.0, -9.0, 0.0, 9.0, 40.0]).reshape(1, 1, 5)
    x = ContinuousBernoulli().sample(torch.full((1, 1, 5), logit), noise)
    assert bool(((x >= 0) & (x <= 1)).all())
    assert bool((x.diff() >= 0).all())
