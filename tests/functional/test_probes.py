"""Probes on codes whose answer is known."""

import math

import numpy as np
import pytest

from support.chance import SIGMAS
from vaelab.functional.probes import knn_probe, linear_probe, majority

CLASSES = 4


def planted(number: int, gap: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes (N, 3): the class in one of the dimensions' corners, and unit noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(CLASSES, size=number)
    corners = np.array([[1, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]])
    return gap * corners[y] + rng.standard_normal((number, 3)), y


@pytest.mark.parametrize("probe", [linear_probe, knn_probe])
def test_codes_that_say_nothing_give_chance(probe):
    number = 2000
    chance = probe(*planted(800, 0.0, 0), *planted(number, 0.0, 1))
    assert abs(chance - 1 / CLASSES) < SIGMAS * math.sqrt(0.25 * 0.75 / number)


def test_the_linear_probe_is_near_the_best_classifier():
    # Signs of two coordinates, each right with probability Phi(gap): nothing does better than its square.
    gap, number = 1.0, 4000
    best = (0.5 * (1 + math.erf(gap / math.sqrt(2)))) ** 2
    found = linear_probe(*planted(4000, gap, 0), *planted(number, gap, 1))
    assert abs(found - best) < SIGMAS * math.sqrt(best * (1 - best) / number)


def test_the_scale_of_a_code_matters_to_neighbours_alone():
    (x, y), (x_test, y_test) = planted(400, 2.0, 0), planted(400, 2.0, 1)
    scale = np.array([1.0, 1.0, 1e3])  # the dimension that says nothing drowns the others
    assert linear_probe(x * scale, y, x_test * scale, y_test) == linear_probe(x, y, x_test, y_test) > 0.9
    assert knn_probe(x * scale, y, x_test * scale, y_test) < 0.4 < knn_probe(x, y, x_test, y_test)


def test_few_codes_and_one_class():
    x = np.eye(3)
    assert linear_probe(x, [1, 1, 1], x, [1, 1, 2]) == pytest.approx(2 / 3)
    assert knn_probe(x, [1, 1, 2], x, [1, 1, 1]) == 1  # three of five neighbours there are
    assert majority([1, 1, 2], [1, 2, 2]) == pytest.approx(1 / 3)
