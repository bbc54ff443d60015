"""Seeds folded into a mean and a 95% interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

LEVEL = 0.95


@dataclass(frozen=True)
class Stat:
    """A mean over ``n`` seeds; the interval is mean ± ``half``, and None of a single one."""

    mean: float
    half: float | None
    n: int


def fold(values: Sequence[float | None]) -> Stat | None:
    """Mean and interval of what is defined among ``values``; None if nothing is.

    mean ± t · s / √n, with s the sample's standard deviation (n - 1) and t Student's 97.5% quantile with
    n - 1 degrees of freedom: seeds are taken as independent draws from one normal distribution.
    """
    known = [value for value in values if value is not None]
    n = len(known)
    if n == 0:
        return None
    mean = math.fsum(known) / n
    if n == 1:
        return Stat(mean, None, 1)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (n - 1))
    return Stat(mean, t_quantile(n - 1) * deviation / math.sqrt(n), n)


@cache
def t_quantile(freedom: int, level: float = LEVEL) -> float:
    """The t with P(|T| <= t) = ``level`` for Student's T with a whole number of degrees of freedom.

    Bisection on the angle θ = atan(t/√ν) of :func:`central_probability`.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        if central_probability(middle, freedom) < level:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def central_probability(theta: float, freedom: int) -> float:
    """P(|T| <= √ν tan θ) for Student's T: the finite sums of Abramowitz & Stegun, 26.7.3 and 26.7.4."""
    sine, cosine = math.sin(theta), math.cos(theta)
    if freedom % 2 == 0:
        term = total = 1.0
        for k in range(1, freedom // 2):
            term *= (2 * k - 1) / (2 * k) * cosine**2
            total += term
        return sine * total
    total, term = 0.0, cosine
    for k in range(1, (freedom - 1) // 2 + 1):
        total += term
        term *= 2 * k / (2 * k + 1) * cosine**2
    return 2 / math.pi * (theta + sine * total)
