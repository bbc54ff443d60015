"""Folding seeds, against scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from vaelab.reports.statistics import Stat, fold, t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 10, 29, 30, 99, 100])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_the_quantile_is_students(freedom, level):
    exact = stats.t.ppf((1 + level) / 2, freedom)
    assert t_quantile(freedom, level) == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_the_interval_is_scipys(n):
    values = np.random.default_rng(n).normal(-25, 2, n)
    stat = fold(values.tolist())
    low, high = stats.t.interval(0.95, n - 1, values.mean(), values.std(ddof=1) / math.sqrt(n))
    assert stat.n == n
    assert stat.mean == pytest.approx(values.mean(), rel=1e-12)
    assert (stat.mean - stat.half, stat.mean + stat.half) == pytest.approx((low, high), rel=1e-9)


def test_a_single_value_has_no_interval():
    assert fold([-25.0]) == Stat(-25.0, None, 1)


def test_what_is_undefined_is_not_counted():
    assert fold([None, 3.0, None]) == Stat(3.0, None, 1)
    assert fold([None, None]) is None
    assert fold([]) is None
