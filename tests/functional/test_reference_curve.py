"""The reference curve against the closed form, and the grids of beta that it gives."""

import math

import numpy as np
import pytest

from vaelab.functional.closed_forms import linear_beta_vae
from vaelab.functional.reference_curve import (
    LARGEST_SPAN,
    LEAST_SPAN,
    ReferenceCurve,
    beta_grid,
    suggested_latent_dim,
)

SPECTRA = {
    "steps": [6.0, 3.0, 1.8, 1.0, 0.35, 0.17, 0.08, 0.02],
    "power law": [k**-1.5 for k in range(1, 101)],
    "flat": [0.3] * 12,
}


@pytest.fixture(params=SPECTRA)
def spectrum(request: pytest.FixtureRequest) -> list[float]:
    return SPECTRA[request.param]


def curve_of(spectrum: list[float], sigma: float, latent_dim: int) -> ReferenceCurve:
    dead = linear_beta_vae(spectrum, sigma, 1e9, latent_dim)
    return ReferenceCurve(tuple(value / sigma**2 for value in spectrum), dead.distortion, latent_dim)


@pytest.mark.parametrize("sigma", [0.1, 1.7])
@pytest.mark.parametrize("latent_dim", [2, 5, 200])
def test_thresholds_and_one_distortion_give_the_closed_form(spectrum, sigma, latent_dim):
    curve = curve_of(spectrum, sigma, latent_dim)
    for beta in (*beta_grid(curve.thresholds, latent_dim), 0.7, curve.thresholds[1]):
        exact, point = linear_beta_vae(spectrum, sigma, beta, latent_dim), curve.at(beta)
        assert point.active_units == exact.active_units
        assert point.rate == pytest.approx(exact.rate, abs=1e-9)
        assert point.distortion == pytest.approx(exact.distortion, rel=1e-9)


def test_the_slope_of_the_curve_is_minus_beta(spectrum):
    curve = curve_of(spectrum, 0.5, 5)
    for beta in (0.3, 0.9):
        near, far = curve.at(beta * 0.9999), curve.at(beta * 1.0001)
        assert (far.distortion - near.distortion) / (far.rate - near.rate) == pytest.approx(-beta, rel=1e-3)


def test_the_drawn_curve_ends_where_everything_is_dead(spectrum):
    curve = curve_of(spectrum, 0.5, 5)
    assert curve.at(curve.betas()[-1]).rate == pytest.approx(0, abs=1e-9)
    assert curve.at(curve.betas()[0]).active_units >= 4


@pytest.mark.parametrize("sigma", [0.01, 0.1, 1.0, 3.3])
@pytest.mark.parametrize("latent_dim", [1, 3, 8, 60])
def test_a_grid_goes_from_most_dimensions_live_to_all_dead_in_round_numbers(spectrum, sigma, latent_dim):
    curve = curve_of(spectrum, sigma, latent_dim)
    grid = beta_grid(curve.thresholds, latent_dim)
    possible = min(latent_dim, len(spectrum))
    assert curve.at(grid[0]).active_units >= math.ceil(0.9 * possible) - 1e-9
    assert curve.at(grid[-1]).active_units == 0
    assert curve.at(grid[-2]).active_units > 0
    assert 5 <= len(grid) <= 12
    assert grid == sorted(set(grid))
    assert LEAST_SPAN <= grid[-1] / grid[0] <= 100 * LARGEST_SPAN
    ratios = np.diff(np.log(grid))
    assert ratios.max() < 2.6 * ratios.min()
    assert {float(f"{beta:e}".partition("e")[0]) for beta in grid} <= {1, 1.5, 2, 3, 5, 7}


def test_directions_without_variance_do_not_widen_the_grid():
    thresholds = [100.0, 50.0, 1e-12, 0.0]
    assert beta_grid(thresholds, 4)[0] >= 100 / LARGEST_SPAN / 10
    with pytest.raises(ValueError, match="all images are the same"):
        beta_grid([0.0, 0.0], 2)


def test_as_many_dimensions_are_suggested_as_live_at_beta_one(spectrum):
    for sigma in (0.1, 0.5):
        thresholds = [value / sigma**2 for value in spectrum]
        exact = linear_beta_vae(spectrum, sigma, 1.0, len(spectrum))
        assert suggested_latent_dim(thresholds) == max(2, exact.active_units)
    assert suggested_latent_dim([0.5, 0.2, 0.1]) == 2
