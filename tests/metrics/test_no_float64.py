"""Metrics and the functions that run on the model's device make no float64 tensor: Apple's MPS has none."""

import pytest
import torch
from torch import Tensor

from builders import images, latent_stats, random
from support.no_float64 import NoFloat64
from vaelab.functional import (
    aggregate,
    annealed_importance,
    estimators,
    gradient_estimators,
    holes,
    interpolation,
)
from vaelab.metrics import (
    ActiveUnits,
    AggregatePosterior,
    BitsPerDimension,
    DecoderTest,
    ImportanceBound,
    KLPerDimension,
    RateDistortion,
    ReconstructionError,
    ReconstructionQuality,
)

N = 12
STATS = latent_stats(N, samples=2)
X = images(N)
Z = STATS.z[0]


def log_density(z: Tensor) -> Tensor:
    return -z.square().sum(-1)


METRICS = {
    ActiveUnits: ((4,), (STATS.loc,)),
    KLPerDimension: ((4,), (STATS.kl,)),
    RateDistortion: ((), (STATS.rate, STATS.distortion, torch.arange(len(X)))),
    ImportanceBound: ((), (STATS.distortion, STATS.log_q, STATS.log_p, torch.arange(len(X)))),
    BitsPerDimension: ((), (X, STATS.rate, STATS.distortion, torch.tensor(True), torch.arange(len(X)))),
    ReconstructionError: ((), (X, X[None])),
    ReconstructionQuality: ((), (X, X[None], torch.arange(N))),
    DecoderTest: (
        (),
        (torch.arange(N), STATS.z, STATS.z_prior, STATS.distortion, lambda z, rows: log_density(z)),
    ),
    AggregatePosterior: (
        (),
        (torch.arange(N), STATS.z, STATS.z_prior, STATS.loc, STATS.scale, STATS.log_q, STATS.log_p, STATS.kl),
    ),
}


@pytest.mark.parametrize("metric", METRICS)
def test_metrics(metric):
    options, values = METRICS[metric]
    with NoFloat64():
        measure = metric(*options)
        measure.update(*values)
        measure.compute()


def noise(transition: int) -> Tensor:
    return torch.randn(1, N, Z.shape[1] + 2, generator=random(transition))


PATH = annealed_importance.Path(log_density, log_density)
FUNCTIONS = {
    "hole rate": lambda: holes.hole_rate(Z, STATS.z_prior),
    "hole rates": lambda: holes.hole_rates(lambda k: (Z, STATS.z_prior, STATS.loc)),
    "brackets": lambda: aggregate.aggregate_brackets(
        Z, aggregate.Gaussians(STATS.loc, STATS.scale), STATS.log_q[0], STATS.log_p[0]
    ),
    "low density rate": lambda: holes.low_density_rate(
        Z, STATS.z_prior, aggregate.Gaussians(STATS.loc, STATS.scale)
    ),
    "total correlation": lambda: estimators.total_correlation(Z, STATS.loc, STATS.scale, 100),
    "mmd": lambda: estimators.mmd(Z, STATS.z_prior, estimators.inverse_multiquadric(1.0)),
    "path steps": lambda: interpolation.path_steps(torch.sin, Z, STATS.z_prior, spherical=True),
    "gradients": lambda: gradient_estimators.compare_estimators(
        log_density, STATS.loc, STATS.scale, torch.randn(16, *Z.shape, generator=random()), samples=4
    ),
    "step sizes": lambda: annealed_importance.adapted_step_sizes(PATH, Z[None], [0.0, 0.5, 1.0], noise),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions(function):
    with NoFloat64():
        FUNCTIONS[function]()


def test_without_float64_the_codes_may_still_be_anywhere():
    """Codes on a grid of 2^-8, so that the shift loses no digit of them."""
    z, drawn = ((part * 256).round() / 256 for part in (Z, STATS.z_prior))
    expected = holes.nearest_distance(drawn.double(), z.double())
    with NoFloat64():
        found = holes.nearest_distance(drawn + 1e4, z + 1e4)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_the_mode_sees_a_float64_tensor():
    with NoFloat64(), pytest.raises(TypeError, match="float64"):
        Z.double()
