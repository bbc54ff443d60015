"""Folding seeds, against scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from vaelab.reports.statistics import Stat, fold


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_interval_is_scipys(n):
    values = np.random.default_rng(n).normal(-25, 2, n)
    stat = fold(values.tolist())
    low, high = stats.t.interval(0.95, n - 1, values.mean(), values.std(ddof=1) / math.sqrt(n))
    assert stat.n == n
    assert stat.mean == pytest.approx(values.mean(), rel=1e-12)
    assert (stat.mean - stat.half, stat.mean + stat.half) == pytest.approx((low, high), rel=1e-9)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([-25.0], Stat(-25.0, None, 1)), ([None, 3.0, None], Stat(3.0, None, 1)), ([None], None), ([], None)],
)
def test_undefined_values_do_not_count_and_a_single_one_has_no_interval(values, expected):
    assert fold(values) == expected
