"""Hole rates against what they must be for equal, shifted and half-empty distributions."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.stats import norm
from torch import Tensor

from builders import random
from support.chance import SIGMAS
from vaelab.functional.aggregate import Gaussians
from vaelab.functional.holes import (
    distance_threshold,
    hole_rate,
    hole_rates,
    low_density_rate,
    matched_draws,
    nearest_distance,
    null_hole_rate,
)


def normal(number: int, dimensions: int, seed: int) -> Tensor:
    return torch.randn(number, dimensions, generator=random(seed), dtype=torch.float64)


def test_the_nearest_distance_is_scipys(monkeypatch):
    monkeypatch.setattr("vaelab.functional.holes.ROWS", 7)
    x, reference = normal(40, 3, 0), normal(30, 3, 1)
    np.testing.assert_allclose(nearest_distance(x, reference), cKDTree(reference).query(x)[0])
    own = nearest_distance(x, x, leave_out_own=True)
    np.testing.assert_allclose(own, cKDTree(x).query(x, k=2)[0][:, 1])


@pytest.mark.parametrize("dimensions", [2, 10])
@pytest.mark.parametrize("codes", [50, 101])
def test_without_holes_it_is_the_null_value(codes, dimensions):
    """Prior and aggregate posterior agree; at N = 50 the rank is no whole number. 0.01 would be 15 sigma off.

    Ties lower the rate by less than 5% (the second term of the bound).
    """
    found = torch.stack(
        [
            hole_rate(normal(codes, dimensions, seed), normal(codes, dimensions, seed + 5000))
            for seed in range(3000)
        ]
    )
    null = null_hole_rate(codes)
    assert null == pytest.approx({50: (50 - 48.51) / 51, 101: 2 / 102}[codes])
    assert abs(found.mean() - null) < SIGMAS * found.std() / 3000**0.5 + 0.05 * null


def test_the_rate_is_between_those_at_two_distances():
    z, drawn = normal(50, 2, 0), 1.5 * normal(4000, 2, 1)
    own = np.sort(cKDTree(z).query(z, k=2)[0][:, 1])
    nearest = cKDTree(z).query(drawn)[0]
    shares = [(nearest > own[k]).mean() for k in (46, 47)]  # the rank 0.95 * 49 = 46.55, from 0
    assert shares[0] > shares[1]
    assert hole_rate(z, drawn, tail=0.05).item() == pytest.approx(0.45 * shares[0] + 0.55 * shares[1])
    assert own[46] < distance_threshold(z, tail=0.05) < own[47]


@pytest.mark.parametrize("shift", [0.0, 100.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_does_not_matter_where_the_codes_are(shift, dtype):
    """Codes on a grid of 2^-8, so that the shift itself loses no digit of them in float32."""
    z, drawn = ((normal(300, 2, seed) * 256).round() / 256 for seed in (0, 1))
    expected = hole_rate(z, drawn).item()
    moved = [(part + shift).to(dtype) for part in (z, drawn)]
    assert hole_rate(*moved).item() == pytest.approx(expected, abs=1e-6)
    own = nearest_distance(moved[0], moved[0], leave_out_own=True)
    np.testing.assert_allclose(own, cKDTree(z).query(z, k=2)[0][:, 1], rtol=1e-6, atol=1e-7)


def drawn_from(width: float, codes: int = 200) -> Callable[[int], tuple[Tensor, Tensor, Tensor]]:
    """Draws k -> codes ~ N(0, I), a prior N(0, width^2 I) and noise, in two dimensions."""

    def draw(k: int) -> tuple[Tensor, Tensor, Tensor]:
        return normal(codes, 2, 3 * k), width * normal(codes, 2, 3 * k + 1), normal(codes, 2, 3 * k + 2)

    return draw


def test_the_mean_over_draws_and_its_error():
    draw = drawn_from(1.5)
    found = hole_rates(draw)
    single = torch.stack([hole_rate(*draw(k)[:2]) for k in range(found.draws)])
    assert found.hole_rate.item() == pytest.approx(single.mean().item())
    assert found.hole_rate_se.item() == pytest.approx(single.std().item() / found.draws**0.5)
    assert found.hole_rate_se <= 0.005
    before = torch.stack([hole_rate(*draw(k)[:2]) for k in range(found.draws - 1)])
    assert found.draws > 8  # as many as were needed, and no more
    assert before.std() / (found.draws - 1) ** 0.5 > 0.005
    others = torch.stack([hole_rate(*drawn_from(1.5)(k)[:2]) for k in range(1000, 2000)])
    difference = found.hole_rate - others.mean()
    assert abs(difference) < SIGMAS * (found.hole_rate_se**2 + others.var() / 1000) ** 0.5
    assert hole_rates(draw, least=3, most=3).draws == 3
    assert hole_rates(draw, most=1, least=1).hole_rate_se.isnan()


def test_the_matched_rate_is_that_of_its_draws():
    draw = drawn_from(3.0)
    found = hole_rates(draw, least=5, most=5)
    single = [hole_rate(z, matched_draws(z, noise)) for z, _, noise in map(draw, range(5))]
    assert found.hole_rate_matched.item() == pytest.approx(torch.stack(single).mean().item())
    assert abs(found.hole_rate_matched - null_hole_rate(200)) < SIGMAS * found.hole_rate_matched_se
    assert found.hole_rate > 0.2


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
    assert low_density_rate(z, z, Gaussians(z, 0 * z)).isnan()  # no density


def test_low_density_of_a_gaussian_aggregate():
    """q(z) = N(0, I) = p(z) from posteriors N(mu, s^2 I), mu ~ N(0, (1 - s^2) I): the tail again."""
    scale = torch.full((3000, 2), 0.6, dtype=torch.float64)
    loc = 0.8 * normal(3000, 2, 0)
    z, own = loc + scale * normal(3000, 2, 1), Gaussians(loc, scale)
    assert low_density_rate(z, normal(3000, 2, 2), own).item() == pytest.approx(0.01, abs=0.008)
    # draws from N(0, 2^2 I): beyond the radius r at which q has 1%, exp(-r^2 / 2) = 0.01
    found = low_density_rate(z, 2 * normal(3000, 2, 2), own).item()
    assert found == pytest.approx(0.01 ** (1 / 4), abs=0.05)


def matched_rate(z: Tensor) -> float:
    """The mean of 10 draws: sd about 0.003 each for 2,000 codes without holes."""
    noise = (normal(len(z), z.shape[1], seed) for seed in range(100, 110))
    return torch.stack([hole_rate(z, matched_draws(z, part)) for part in noise]).mean().item()


def test_the_matched_rate_sees_structure_and_not_scale():
    z = normal(2000, 2, 0)
    assert matched_rate(z) == pytest.approx(0.01, abs=0.008)
    skewed = torch.tensor([[3.0, 0.0], [2.0, 0.1]], dtype=torch.float64)
    assert matched_rate(z @ skewed.T + 7) == pytest.approx(0.01, abs=0.008)
    angle = 2 * torch.pi * torch.rand(2000, generator=random(1), dtype=torch.float64)
    ring = torch.stack([angle.cos(), angle.sin()], 1)  # its Gaussian: variance 1/2 in each dimension
    assert distance_threshold(ring) < 0.02
    assert matched_rate(ring) > 0.95  # |z| within 0.02 of 1 is rare
    for scale in (0.1, 10.0):
        assert matched_rate(scale * ring) == pytest.approx(matched_rate(ring), abs=1e-3)


def test_matched_draws_have_the_mean_and_the_covariance_of_the_codes():
    z = normal(500, 3, 0) @ torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, -0.5, 0.2]], dtype=torch.float64) + 5
    drawn = matched_draws(z, normal(200_000, 3, 1))
    np.testing.assert_allclose(drawn.mean(0), z.mean(0), atol=SIGMAS * 2.4 / 200_000**0.5)
    np.testing.assert_allclose(torch.cov(drawn.T), torch.cov(z.T), atol=0.06)


def test_the_matched_rate_of_codes_without_spread_is_undefined():
    for z in (torch.zeros(50, 3), normal(3, 5, 0)):
        assert matched_draws(z, normal(*z.shape, 1)).isnan().all()
        assert hole_rates(lambda k, z=z: (z, z, normal(*z.shape, k))).hole_rate_matched.isnan()
    assert matched_draws(normal(100, 1, 0), normal(100, 1, 1)).isfinite().all()


@pytest.mark.parametrize(("unused", "blind"), [(0, False), (190, True)])
def test_dimensions_that_no_image_uses_blind_it(unused, blind):
    """Codes in clusters at the corners of a cube of 5 dimensions; in the unused ones q(z|x) is the prior."""
    corners = 0.95 * normal(500, 5, 0).sign()
    loc = torch.cat([corners, torch.zeros(500, unused, dtype=torch.float64)], 1)
    scale = torch.ones_like(loc)
    scale[:, :5] = 0.2
    z, z_prior = loc + scale * normal(*loc.shape, 1), normal(*loc.shape, 2)
    found = hole_rate(z, z_prior).item()
    assert found < 0.04 if blind else found > 0.5
    assert low_density_rate(z, z_prior, Gaussians(loc, scale)).item() > (0.15 if blind else 0.5)
