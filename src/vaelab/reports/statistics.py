"""Seeds folded into a mean and a 95% confidence interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import stdev

__all__ = ["Stat", "fold"]

LEVEL = 0.95


@dataclass(frozen=True)
class Stat:
    """A mean over ``n`` seeds; the interval is mean ± ``half``, None for a single seed."""

    mean: float
    half: float | None
    n: int


def fold(values: Sequence[float | None]) -> Stat | None:
    """The mean of the defined ``values`` and its 95% confidence interval; None if no value is defined.

    mean ± t · s / √n, with s the sample's standard deviation and t the 97.5% quantile of Student's t with
    n - 1 degrees of freedom. Seeds count as independent draws from one normal distribution.

    >>> fold([1.0, None, 3.0])
    Stat(mean=2.0, half=12.706204736174694, n=2)
    """
    defined = [value for value in values if value is not None]
    n = len(defined)
    if n == 0:
        return None
    half = t_quantile(n - 1) * stdev(defined) / math.sqrt(n) if n > 1 else None
    return Stat(math.fsum(defined) / n, half, n)


@cache
def t_quantile(degrees_of_freedom: int) -> float:
    from scipy.stats import t  # most of a second to import, which a sweep of single seeds need not pay

    return float(t.ppf((1 + LEVEL) / 2, degrees_of_freedom))
