"""Paths between codes, against closed forms and scipy's spherical interpolation."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import geometric_slerp

from builders import random
from support.chance import SIGMAS
from vaelab.functional.interpolation import (
    detour,
    image_distance,
    longest_step,
    path,
    path_steps,
    perceptual_path_length,
    slerp,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=random(seed), dtype=torch.float64)


def on_sphere(n: int, dimensions: int, radius: float, seed: int = 0) -> torch.Tensor:
    z = normal(n, dimensions, seed=seed)
    return radius * z / z.norm(dim=-1, keepdim=True)


def isometry(dimensions: int, pixels: int, scale: float) -> torch.Tensor:
    """W (pixels, dimensions) with W^T W = scale^2 I."""
    return scale * torch.linalg.qr(normal(pixels, dimensions, seed=9)).Q


# slerp


def test_spherical_interpolation_is_scipys():
    one, two = on_sphere(1, 5, 1.0)[0], on_sphere(1, 5, 1.0, seed=1)[0]
    t = torch.linspace(0, 1, 7, dtype=torch.float64)
    np.testing.assert_allclose(slerp(one, two, t[:, None]), geometric_slerp(one, two, t), atol=1e-14)


def test_its_ends_are_the_codes_to_the_bit():
    z1, z2 = normal(20, 8).float(), normal(20, 8, seed=1).float()
    assert torch.equal(slerp(z1, z2, 0.0), z1)
    assert torch.equal(slerp(z1, z2, 1.0), z2)


def test_codes_of_one_length_keep_it_and_turn_evenly():
    z1, z2 = on_sphere(10, 6, 2.5), on_sphere(10, 6, 2.5, seed=1)
    points = path(z1, z2, 9, spherical=True)
    torch.testing.assert_close(points.norm(dim=-1), torch.full((10, 9), 2.5, dtype=torch.float64))
    turned = ((points[:, 1:] * points[:, :-1]).sum(-1) / 2.5**2).acos()
    whole = ((z1 * z2).sum(-1) / 2.5**2).acos()
    torch.testing.assert_close(turned, (whole / 8)[:, None].expand(-1, 8))


@pytest.mark.parametrize(
    "z2",
    [[2.0, 4.0], [1.0, 2.0], [-1.0, -2.0], [0.0, 0.0], [1.0, 2.0 + 1e-6]],
    ids=["parallel", "equal", "opposite", "zero", "nearly parallel"],
)
def test_where_there_is_no_arc_the_path_is_straight(z2):
    z1, z2 = torch.tensor([1.0, 2.0]), torch.tensor(z2)
    for t in (0.0, 0.3, 1.0):
        torch.testing.assert_close(slerp(z1, z2, t), torch.lerp(z1, z2, t))


def test_a_small_angle_is_exact_in_single_precision():
    """An arccos of the inner product would say 0 here."""
    z1, z2 = torch.tensor([1.0, 0.0]), torch.tensor([math.cos(1e-3), math.sin(1e-3)])
    middle = slerp(z1, z2, 0.5)
    assert middle[1].item() == pytest.approx(math.sin(5e-4), rel=1e-6)


def test_straight_paths_are_straight():
    z1, z2 = normal(4, 3), normal(4, 3, seed=1)
    points = path(z1, z2, 5)
    for i, t in enumerate((0, 0.25, 0.5, 0.75, 1)):
        torch.testing.assert_close(points[:, i], z1 + t * (z2 - z1))


# path length


def test_the_path_length_of_a_linear_decoder_is_the_squared_distance():
    w, z1, z2 = normal(7, 3, seed=5), normal(50, 3), normal(50, 3, seed=1)
    found = perceptual_path_length(lambda z: z @ w.T, z1, z2)
    torch.testing.assert_close(found, ((z2 - z1) @ w.T).square().sum(-1), rtol=1e-6, atol=0)


def test_features_take_the_place_of_pixels():
    w, f = normal(7, 3, seed=5), normal(2, 7, seed=6)
    z1, z2 = normal(50, 3), normal(50, 3, seed=1)
    found = perceptual_path_length(lambda z: z @ w.T, z1, z2, features=lambda x: x @ f.T)
    torch.testing.assert_close(found, ((z2 - z1) @ w.T @ f.T).square().sum(-1), rtol=1e-6, atol=0)


def test_the_spherical_path_length_is_the_squared_arc():
    """W is 3 times an isometry: the image's speed is 3 r w, whatever t."""
    w, z1, z2 = isometry(4, 9, 3.0), on_sphere(30, 4, 2.0), on_sphere(30, 4, 2.0, seed=1)
    angle = ((z1 * z2).sum(-1) / 4).acos()
    found = perceptual_path_length(lambda z: z @ w.T, z1, z2, spherical=True)
    torch.testing.assert_close(found, (3 * 2 * angle).square(), rtol=1e-6, atol=0)


def test_its_places_are_uniform_on_the_path():
    """g(z) = z^2 from 0 to 1: the squared speed is (2t)^2, with mean 4/3 and variance 64/45."""
    z1, z2 = torch.zeros(20_000, 1, dtype=torch.float64), torch.ones(20_000, 1, dtype=torch.float64)
    found = perceptual_path_length(torch.square, z1, z2)
    assert abs(found.mean().item() - 4 / 3) < SIGMAS * math.sqrt(64 / 45 / 20_000)
    assert found.var().item() == pytest.approx(64 / 45, rel=0.05)


def test_single_precision_has_a_longer_step():
    w, z1, z2 = normal(400, 3, seed=5).float(), normal(50, 3).float(), normal(50, 3, seed=1).float()
    found = perceptual_path_length(lambda z: (z @ w.T).tanh(), z1, z2)
    exact = perceptual_path_length(lambda z: (z @ w.double().T).tanh(), z1.double(), z2.double())
    torch.testing.assert_close(found.double(), exact, rtol=5e-3, atol=0)


# steps


def test_a_linear_decoder_moves_evenly():
    w, z1, z2 = normal(7, 3, seed=5), normal(6, 3), normal(6, 3, seed=1)
    steps = path_steps(lambda z: z @ w.T, z1, z2, steps=5)
    expected = ((z2 - z1) @ w.T).norm(dim=-1, keepdim=True) / 5
    torch.testing.assert_close(steps, expected.expand(-1, 5))
    torch.testing.assert_close(longest_step(steps), torch.ones(6, dtype=torch.float64))


def test_an_image_that_jumps_once_has_the_longest_step_there_is():
    z1, z2 = torch.tensor([[-1.0], [-2.0]]), torch.tensor([[2.0], [1.0]])
    steps = path_steps(lambda z: (z > 0).float(), z1, z2, steps=8)
    assert longest_step(steps).tolist() == [8, 8]


def test_a_straight_path_has_no_detour_and_a_half_circle_one_of_pi_over_2():
    """The image goes along a half circle of radius 2 while z goes from -1 to 1."""
    z1, z2 = -torch.ones(3, 1, dtype=torch.float64), torch.ones(3, 1, dtype=torch.float64)
    straight = detour(path_steps(lambda z: 5 * z, z1, z2), image_distance(lambda z: 5 * z, z1, z2))
    torch.testing.assert_close(straight, torch.ones(3, dtype=torch.float64))

    def turning(z):
        angle = math.pi / 2 * z
        return torch.cat([2 * angle.cos(), 2 * angle.sin()], dim=1)

    steps, across = path_steps(turning, z1, z2, steps=400), image_distance(turning, z1, z2)
    torch.testing.assert_close(across, torch.full((3,), 4.0, dtype=torch.float64))
    torch.testing.assert_close(
        detour(steps, across), torch.full((3,), math.pi / 2).double(), rtol=1e-5, atol=0
    )


def test_equal_ends_have_no_detour_and_an_image_that_does_not_move_no_longest_step():
    assert detour(torch.ones(1, 4), torch.zeros(1)).isnan().all()
    assert longest_step(torch.zeros(2, 16)).isnan().all()
