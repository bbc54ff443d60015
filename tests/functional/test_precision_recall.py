"""Precision, recall, density and coverage: by hand, by direct loops, and against their expectations."""

import math

import numpy as np
import pytest

from support.chance import SIGMAS
from vaelab.functional.precision_recall import expected_coverage, support


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_by_hand():
    # k = 1. Balls of the reference: 0 +- 1, 1 +- 1, 10 +- 9; of the samples: 0.5 +- 1, 1.5 +- 1, 30 +- 28.5.
    found = support(column(0, 1, 10), column(0.5, 1.5, 30), k=1, k_density=1)
    assert found.precision == pytest.approx(2 / 3)  # 30 lies in no ball
    assert found.recall == pytest.approx(1)  # 0.5 +- 1 has 0 and 1, 30 +- 28.5 has 10
    # 0.5 lies in the balls of 0 and 1; 1.5 in those of 1 and 10 (1 <= 1.5 <= 19)
    assert found.density == pytest.approx(4 / 3)
    assert found.coverage == pytest.approx(1)


def directly(reference: np.ndarray, samples: np.ndarray, k: int, k_density: int) -> list[float]:
    def radius(points, i, k):
        return sorted(np.linalg.norm(points - points[i], axis=1))[k]  # the first is the point itself

    def inside(points, i, k, other):
        return np.linalg.norm(points[i] - other) <= radius(points, i, k)

    n = range(len(reference))
    within = [[inside(reference, i, k_density, samples[j]) for i in n] for j in n]
    return [
        np.mean([any(inside(reference, i, k, samples[j]) for i in n) for j in n]),
        np.mean([any(inside(samples, j, k, reference[i]) for j in n) for i in n]),
        np.sum(within) / k_density / len(samples),
        np.mean(np.any(within, axis=0)),
    ]


def test_it_is_the_definition_in_any_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    reference, samples = rng.standard_normal((30, 2)), 1.2 + rng.standard_normal((30, 2))
    expected = directly(reference, samples, 3, 5)
    assert 0 < expected[0] < 1
    assert 0 < expected[1] < 1
    np.testing.assert_allclose(support(reference, samples), expected)
    monkeypatch.setattr("vaelab.functional.precision_recall.CHUNK", 7 * 30)
    np.testing.assert_allclose(support(reference, samples), expected)


def test_one_of_two_modes():
    rng = np.random.default_rng(0)
    far = np.array([50.0, 0.0])
    reference = np.concatenate([rng.standard_normal((500, 2)), far + rng.standard_normal((500, 2))])
    found = support(reference, rng.standard_normal((1000, 2)))
    assert found.precision > 0.95
    assert found.recall == pytest.approx(0.5, abs=0.03)
    assert found.coverage == pytest.approx(0.5, abs=0.03)
    other = support(
        rng.standard_normal((1000, 2)), reference
    )  # half of the samples are in a mode of their own
    assert other.precision == pytest.approx(0.5, abs=0.03)
    assert other.recall > 0.9


def test_equal_distributions_have_the_expected_density_and_coverage():
    rng = np.random.default_rng(0)
    number, k, repetitions = 60, 5, 150
    found = np.array(
        [
            support(rng.standard_normal((number, 3)), rng.standard_normal((number, 3)), k_density=k)[2:]
            for _ in range(repetitions)
        ]
    )
    error = found.std(0, ddof=1) / math.sqrt(repetitions)
    assert (error < [0.02, 0.005]).all()
    assert (abs(found.mean(0) - [1, expected_coverage(number, k)]) < SIGMAS * error).all()


def test_the_expected_coverage_of_two():
    # k = 1, N = 2: of one other and two samples the nearest is a sample in two cases of three.
    assert expected_coverage(2, 1) == pytest.approx(2 / 3)
    assert expected_coverage(10**6, 5) == pytest.approx(1 - 2**-5, abs=1e-4)


def test_sets_without_k_others_have_no_support():
    found = support(np.eye(4), np.eye(4), k=3, k_density=5)
    assert found.precision == found.recall == 1
    assert math.isnan(found.density)
    assert math.isnan(found.coverage)
    assert np.isnan(support(np.eye(2), np.eye(2))).all()
    assert np.isnan(support(np.ones((1, 2)), np.ones((1, 2)))).all()
    assert math.isnan(expected_coverage(5, 5))
