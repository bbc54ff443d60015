"""FID and KID against closed forms, scipy, torchmetrics and double sums."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from support.chance import SIGMAS
from vaelab.functional.frechet import frechet_distance, kernel_distance

COVARIANCE = np.array([[1.5, 0.9, 0.0], [0.9, 1.0, -0.3], [0.0, -0.3, 0.8]])
OTHER = np.array([[0.5, 0.0, 0.2], [0.0, 2.0, 0.5], [0.2, 0.5, 1.0]])


def exactly(mean: np.ndarray, covariance: np.ndarray, number: int = 50, seed: int = 0) -> np.ndarray:
    """Points whose sample mean and covariance (N - 1) are these to rounding."""
    points = np.random.default_rng(seed).standard_normal((number, len(mean)))
    points -= points.mean(0)
    points = points @ np.linalg.inv(np.linalg.cholesky(np.cov(points.T))).T
    return mean + points @ np.linalg.cholesky(covariance).T


def by_definition(m1: np.ndarray, c1: np.ndarray, m2: np.ndarray, c2: np.ndarray) -> float:
    return float(((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real))


def test_it_is_the_formula_with_the_root_of_the_product():
    m1, m2 = np.array([1.0, -2.0, 0.0]), np.zeros(3)
    x, y = exactly(m1, COVARIANCE), exactly(m2, OTHER, seed=1)
    assert frechet_distance(x, y) == pytest.approx(by_definition(m1, COVARIANCE, m2, OTHER), rel=1e-9)


def test_it_is_what_torchmetrics_says():
    rng = np.random.default_rng(0)
    x = torch.tensor(exactly(np.ones(3), COVARIANCE, 40))
    y = torch.tensor(rng.gamma(2.0, size=(40, 3)))
    identity = nn.Identity()
    identity.num_features = 3
    reference = FrechetInceptionDistance(feature=identity, normalize=True)
    reference.update(x, real=True)
    reference.update(y, real=False)
    assert frechet_distance(x, y) == pytest.approx(float(reference.compute()), rel=1e-9)


@pytest.mark.parametrize("number", [10, 300])
def test_a_set_is_at_no_distance_of_itself(number):
    """With fewer images than features, and with more."""
    x = 5 + np.random.default_rng(0).standard_normal((number, 64)) * np.geomspace(1e-3, 10, 64)
    assert frechet_distance(x, x[::-1].copy()) == pytest.approx(0, abs=1e-10)


def test_fewer_images_than_features():
    # One point pair each, along different axes: covariances of rank 1, S1 S2 = 0.
    x, y = np.zeros((2, 5)), np.zeros((2, 5))
    x[:, 0], y[:, 1] = (-1, 1), (-3, 3)
    assert frechet_distance(x, y) == pytest.approx(2 + 18)


def test_undefined_is_nan():
    assert math.isnan(frechet_distance(np.ones((1, 3)), np.ones((1, 3))))
    assert math.isnan(frechet_distance(np.full((4, 3), np.nan), np.ones((4, 3))))
    assert math.isnan(kernel_distance(np.ones((1, 3)), np.ones((1, 3))).value)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_both_sides_count_the_same(distance):
    with pytest.raises(ValueError, match=r"\(5, 3\) and \(4, 3\)"):
        distance(np.ones((5, 3)), np.ones((4, 3)))


def double_sum(x: np.ndarray, y: np.ndarray) -> float:
    number, width = x.shape

    def kernel(a, b):
        return (a @ b / width + 1) ** 3

    within = sum(
        kernel(part[i], part[j]) for part in (x, y) for i in range(number) for j in range(number) if i != j
    )
    between = sum(kernel(a, b) for a in x for b in y)
    return within / (number * (number - 1)) - 2 * between / number**2


def shifted(number: int) -> np.ndarray:
    """(2, N, 4): the second set's mean is 1."""
    return np.random.default_rng(0).standard_normal((2, number, 4)) + np.array([0, 1])[:, None, None]


def test_the_kernel_distance_is_the_double_sum():
    x, y = shifted(7)
    assert kernel_distance(x, y).value == pytest.approx(double_sum(x, y), rel=1e-12)
    assert math.isnan(kernel_distance(x, y).error)


def test_subsets_are_disjoint_and_averaged():
    x, y = shifted(8)
    parts = [double_sum(x[:4], y[:4]), double_sum(x[4:], y[4:])]
    found = kernel_distance(x, y, subset=4)
    assert found.value == pytest.approx(np.mean(parts))
    assert found.error == pytest.approx(np.std(parts, ddof=1) / math.sqrt(2))


def test_the_kernel_distance_is_unbiased():
    # E[(x.y/d + 1)^3] under x ~ N(m, 1), y ~ N(n, 1), d = 1: E[(t + 1)^3] with the moments of t = x y.
    def expected(m, n):
        x = np.array([1, m, m**2 + 1, m**3 + 3 * m])
        y = np.array([1, n, n**2 + 1, n**3 + 3 * n])
        return float((np.array([1, 3, 3, 1]) * x * y).sum())

    for shift in (0.0, 0.5):
        rng = np.random.default_rng(3)
        x, y = rng.standard_normal((40_000, 1)), shift + rng.standard_normal((40_000, 1))
        found = kernel_distance(x, y, subset=20)
        truth = expected(0, 0) - 2 * expected(0, shift) + expected(shift, shift)
        assert abs(found.value - truth) < SIGMAS * found.error
        assert found.error < 0.2  # with the pairs i = i within a set it would be 2.4 too large
