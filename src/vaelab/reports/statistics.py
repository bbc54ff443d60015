"""Seeds folded into a mean and its interval; the difference of two configurations and its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, stdev, variance
from typing import Literal

__all__ = ["ALPHA", "MeanDifference", "Stat", "fold", "from_errors", "paired", "welch"]

ALPHA = 0.05  # 1 - the level of an interval

Source = Literal["seeds", "images"]


@dataclass(frozen=True)
class Stat:
    """A mean over ``n`` seeds; the interval is mean ± ``half``, None for a single seed."""

    mean: float
    half: float | None
    n: int


@dataclass(frozen=True)
class MeanDifference:
    """The difference of two means, its standard error and what the error accounts for.

    Args:
        mean: the first minus the second.
        error: the standard error of ``mean``; None if nothing is known of it.
        degrees: of freedom, of Student's t; infinite for the normal distribution.
        source: "seeds", if the error is that of training again with other seeds on the same data; "images",
            if it is that of measuring the same weights on other images.
        over: how the pairs were made: "paired over 3 seeds".
    """

    mean: float
    error: float | None = None
    degrees: float = math.inf
    source: Source = "images"
    over: str = ""

    def half(self, alpha: float = ALPHA) -> float | None:
        """The half width of the interval of level 1 - ``alpha``; None if the error is unknown."""
        return None if self.error is None else t_quantile(self.degrees, alpha) * self.error

    def is_positive(self, alpha: float = ALPHA) -> bool:
        """Whether the interval of level 1 - ``alpha`` lies above 0: by chance in alpha / 2 of all cases."""
        half = self.half(alpha)
        return half is not None and self.mean > half

    def is_negative(self, alpha: float = ALPHA) -> bool:
        """Whether the interval of level 1 - ``alpha`` lies below 0."""
        half = self.half(alpha)
        return half is not None and self.mean < -half


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


def paired(first: Sequence[float], second: Sequence[float]) -> MeanDifference:
    """The mean of first[i] - second[i], where both have seed i in common; n >= 2.

    Its error is s / √n, with s the standard deviation of the n differences and n - 1 degrees of freedom: what
    a seed does to both (first weights, order of batches, noise) does not count.
    """
    n = len(first)
    differences = [a - b for a, b in zip(first, second, strict=True)]
    error = stdev(differences) / math.sqrt(n)
    return MeanDifference(math.fsum(differences) / n, error, n - 1, "seeds", f"paired over {n} seeds")


def welch(first: Sequence[float], second: Sequence[float]) -> MeanDifference:
    """The difference of two means without pairs, of two values or more each.

    Its error is √(s₁²/n₁ + s₂²/n₂), with Welch's degrees of freedom ("The generalization of 'Student's'
    problem when several different population variances are involved", Biometrika 1947).
    """
    n, m = len(first), len(second)
    a, b = variance(first) / n, variance(second) / m
    degrees = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1)) if a + b else float(n + m - 2)
    mean = math.fsum(first) / n - math.fsum(second) / m
    return MeanDifference(mean, math.sqrt(a + b), degrees, "seeds", f"{n} and {m} seeds, unpaired")


def from_errors(mean: float, first: float | None, second: float | None) -> MeanDifference:
    """The difference of two means over images from their standard errors, without pairs.

    √(se₁² + se₂²) is too large where an image that is hard for one model is hard for the other, which is the
    rule: the interval is on the safe side.
    """
    if first is None or second is None:
        return MeanDifference(mean)
    return MeanDifference(mean, math.hypot(first, second), over="from two standard errors, unpaired")


@cache
def t_quantile(degrees: float, alpha: float = ALPHA) -> float:
    """The 1 - alpha/2 quantile of Student's t; of the normal distribution if ``degrees`` is infinite."""
    if math.isinf(degrees):
        return NormalDist().inv_cdf(1 - alpha / 2)
    from scipy.special import stdtrit  # here, since a sweep of single seeds needs no scipy

    return float(stdtrit(degrees, 1 - alpha / 2))
