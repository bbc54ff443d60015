"""Hole rates against what they must be for equal, shifted and half-empty distributions."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.stats import norm
from torch import Tensor

from builders import random
from vaelab.functional.holes import hole_rate, low_density_rate, matched_hole_rate, nearest_distance


def normal(number: int, dimensions: int, seed: int) -> Tensor:
    return torch.randn(number, dimensions, generator=random(seed), dtype=torch.float64)


def test_the_nearest_distance_is_scipys(monkeypatch):
    monkeypatch.setattr("vaelab.functional.holes.ROWS", 7)
    x, reference = normal(40, 3, 0), normal(30, 3, 1)
    np.testing.assert_allclose(nearest_distance(x, reference), cKDTree(reference).query(x)[0])
    own = nearest_distance(x, x, leave_out_own=True)
    np.testing.assert_allclose(own, cKDTree(x).query(x, k=2)[0][:, 1])


@pytest.mark.parametrize("dimensions", [2, 10])
def test_without_holes_it_is_the_tail(dimensions):
    """Prior and aggregate posterior agree: one draw in a hundred lies beyond, however many dimensions."""
    found = [
        hole_rate(normal(2000, dimensions, seed), normal(2000, dimensions, seed + 50)) for seed in range(8)
    ]
    # of each: sqrt(0.01 / 2000) twice, for the draws and for the quantile: 0.0032; of the mean 0.0011
    assert torch.stack(found).mean().item() == pytest.approx(0.01, abs=0.004)
    twice = hole_rate(normal(2000, dimensions, 1), normal(2000, dimensions, 2), tail=0.2)
    assert twice.item() == pytest.approx(0.2, abs=0.04)


def test_the_share_of_the_prior_that_no_code_covers():
    """Codes where z_0 > 0 alone: half of the prior's draws, but for a margin, have no code near them."""
    codes = normal(6000, 2, 0)
    codes = codes[codes[:, 0] > 0]
    threshold = nearest_distance(codes, codes, leave_out_own=True).quantile(0.99).item()
    expected = norm.cdf(-threshold)
    found = hole_rate(codes, normal(4000, 2, 1)).item()
    assert found == pytest.approx(expected + 0.01, abs=0.03)
    assert 0.25 < expected < 0.5


def test_where_it_is_undefined():
    z = normal(5, 2, 0)
    assert hole_rate(z[:1], z).isnan()
    assert hole_rate(z * torch.inf, z).isnan()
    assert low_density_rate(z, z, z, 0 * z).isnan()  # no density


def test_low_density_of_a_gaussian_aggregate():
    """q(z) = N(0, I) = p(z) from posteriors N(mu, s^2 I), mu ~ N(0, (1 - s^2) I): the tail again."""
    scale = torch.full((3000, 2), 0.6, dtype=torch.float64)
    loc = 0.8 * normal(3000, 2, 0)
    z = loc + scale * normal(3000, 2, 1)
    assert low_density_rate(z, normal(3000, 2, 2), loc, scale).item() == pytest.approx(0.01, abs=0.008)
    # draws from N(0, 2^2 I): beyond the radius r at which q has 1%, exp(-r^2 / 2) = 0.01
    found = low_density_rate(z, 2 * normal(3000, 2, 2), loc, scale).item()
    assert found == pytest.approx(0.01 ** (1 / 4), abs=0.05)


def test_the_matched_rate_sees_structure_and_not_scale():
    z = normal(4000, 2, 0)
    assert matched_hole_rate(z).item() == pytest.approx(0.01, abs=0.008)
    skewed = torch.tensor([[3.0, 0.0], [2.0, 0.1]], dtype=torch.float64)
    assert matched_hole_rate(z @ skewed.T + 7).item() == pytest.approx(0.01, abs=0.008)
    angle = 2 * torch.pi * torch.rand(4000, generator=random(1), dtype=torch.float64)
    ring = torch.stack([angle.cos(), angle.sin()], 1)  # its Gaussian: variance 1/2 in each dimension
    gaps = nearest_distance(ring, ring, leave_out_own=True).quantile(0.99).item()
    assert gaps < 0.01
    assert matched_hole_rate(ring) > 0.97  # |z| within 0.01 of 1 is rare
    for scale in (0.1, 10.0):
        assert matched_hole_rate(scale * ring).item() == pytest.approx(
            matched_hole_rate(ring).item(), abs=1e-3
        )


def test_the_matched_rate_of_codes_without_spread_is_undefined():
    assert matched_hole_rate(torch.zeros(50, 3)).isnan()
    assert matched_hole_rate(normal(3, 5, 0)).isnan()
    assert matched_hole_rate(normal(100, 1, 0)).isfinite()
