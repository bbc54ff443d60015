"""Scores from images that share the value of one factor: FactorVAE's and BetaVAE's.

Both draw from a fixed set of images and its table of factors, so that no renderer is needed: images that
share a value are found in the table.
"""

import math
from typing import NamedTuple

import numpy as np

from vaelab.functional.disentanglement.inputs import Floats, Ints, Values, paired

__all__ = ["BetaVAEScore", "FactorVAEScore", "beta_vae_score", "factor_vae_score"]

CHUNK = 2**21  # numbers in the largest intermediate table: 16 MB


class FactorVAEScore(NamedTuple):
    """Accuracies in [0, 1]; chance is 1 / F."""

    score: float  # on votes that the classifier has not seen; 0 where no dimension is active
    train_score: float
    active_dimensions: int
    votes: Ints  # (D, F)  how often a dimension varied least while a factor was constant (training votes)


class BetaVAEScore(NamedTuple):
    """Accuracies in [0, 1]; chance is 1 / F."""

    score: float  # on pairs that the classifier has not seen
    train_score: float


def factor_vae_score(
    codes: Values,
    factors: Values,
    batch: int = 64,
    train: int = 10_000,
    test: int = 5_000,
    threshold: float = 0.05,
    seed: int = 0,
) -> FactorVAEScore:
    """FactorVAE's disentanglement score: which dimension stays constant while a factor does?

    One value of a factor is taken from a random image, and ``batch`` images with that value are drawn. The
    dimension whose variance among them is least, as a share of its variance over all images, votes for the
    factor. The classifier assigns each dimension the factor that it voted for most often; its accuracy is the
    score. ``train`` votes make the classifier and ``test`` others measure it: disentanglement_lib's sizes.

    Dimensions that collapsed to the prior, whose standard deviation over all images is below ``threshold``
    (0.05 in Locatello et al., 2019), are left out: no factor moves them.

    The images of a vote are drawn, with replacement, from those given that have the value. In a group of n
    that makes every variance smaller by (n - 1)/n, alike for all dimensions.

    "Disentangling by Factorising" (Kim & Mnih, 2018, section 4), https://arxiv.org/abs/1802.05983

    Args:
        codes: (N, D), posterior means.
        factors: (N, F), classes.
    """
    z, v = paired(codes, factors)
    _check_sizes(batch=batch, train=train, test=test)
    variance = z.var(0, ddof=1)
    active = np.flatnonzero(np.sqrt(variance) >= threshold)
    nothing = np.zeros((z.shape[1], v.shape[1]), np.int64)
    active = active[variance[active] > 0]
    if not len(active):
        return FactorVAEScore(0.0, 0.0, 0, nothing)
    random = np.random.default_rng(seed)
    z_active, spread = z[:, active], variance[active]

    def votes(number: int) -> Ints:
        counts = nothing.copy()
        for factor, drawn in _per_factor(random, number, v.shape[1]):
            for size in _parts(drawn, batch * len(active)):
                anchor = random.integers(len(z), size=(size, 1)).repeat(batch, axis=1)
                group = z_active[_same_value(v[:, factor], anchor, random)]
                winner = (group.var(1, ddof=1) / spread).argmin(1)
                counts[:, factor] += np.bincount(active[winner], minlength=z.shape[1])
        return counts

    seen = votes(train)
    unseen = votes(test)
    meaning, rows = seen.argmax(1), np.arange(z.shape[1])
    return FactorVAEScore(
        float(unseen[rows, meaning].sum() / unseen.sum()),
        float(seen[rows, meaning].sum() / seen.sum()),
        len(active),
        seen,
    )


def beta_vae_score(
    codes: Values,
    factors: Values,
    batch: int = 64,
    train: int = 10_000,
    test: int = 5_000,
    seed: int = 0,
) -> BetaVAEScore:
    """BetaVAE's disentanglement score: which factor do pairs of images share?

    ``batch`` pairs of images share the value of one factor; their point is the mean over pairs of |z - z'|,
    (D,). Multinomial logistic regression learns the factor from ``train`` such points, and its accuracy on
    ``test`` others is the score: the sizes of disentanglement_lib. The classifier's penalty makes the score
    depend on the scale of the codes. It may be 1 though F - 1 dimensions hold all of F factors (Kim & Mnih,
    2018). The second image of a pair is drawn from those that have the value of the first, itself included.

    "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework" (Higgins et al., ICLR
    2017, section 3)

    Args:
        codes: (N, D), posterior means.
        factors: (N, F), classes.
    """
    from sklearn.linear_model import LogisticRegression

    z, v = paired(codes, factors)
    _check_sizes(batch=batch, train=train, test=test)
    if v.shape[1] < 2:
        return BetaVAEScore(math.nan, math.nan)  # nothing to tell apart
    random = np.random.default_rng(seed)

    def draw(number: int) -> tuple[Floats, Ints]:
        points, labels = [], []
        for factor, drawn in _per_factor(random, number, v.shape[1]):
            for size in _parts(drawn, batch * z.shape[1]):
                first = random.integers(len(z), size=(size, batch))
                second = _same_value(v[:, factor], first, random)
                points.append(np.abs(z[first] - z[second]).mean(1))
                labels.append(np.full(size, factor))
        return np.concatenate(points), np.concatenate(labels)

    seen, unseen = draw(train), draw(test)
    model = LogisticRegression(max_iter=1000).fit(*seen)
    return BetaVAEScore(float(model.score(*unseen)), float(model.score(*seen)))


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        least = 2 if name == "batch" else 1
        if size < least:
            raise ValueError(f"{name} must be at least {least}, got {size}")


def _per_factor(random: np.random.Generator, number: int, factors: int) -> list[tuple[int, int]]:
    """How many of ``number`` draws fall to each factor, all being equally likely: (factor, draws)."""
    counts = random.multinomial(number, np.full(factors, 1 / factors))
    return [(factor, int(drawn)) for factor, drawn in enumerate(counts) if drawn]


def _parts(number: int, width: int) -> list[int]:
    """``number`` draws of ``width`` numbers each in parts that memory can hold: their sizes."""
    size = max(1, CHUNK // width)
    return [min(size, number - start) for start in range(0, number, size)]


def _same_value(factor: Ints, rows: Ints, random: np.random.Generator) -> Ints:
    """For each of ``rows`` a random one with the same value of ``factor`` (N,), itself included."""
    order = np.argsort(factor, kind="stable")
    counts = np.bincount(factor)
    first = np.cumsum(counts) - counts
    value = factor[rows]
    return order[first[value] + random.integers(counts[value])]
