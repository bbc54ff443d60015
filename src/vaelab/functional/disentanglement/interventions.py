"""Scores from images that share the value of one factor: FactorVAE's and BetaVAE's.

Both draw from a fixed set of images and its table of factors, so that no renderer is needed: images that
share a value are found in the table. Source: Kim & Mnih (2018), section 4; Higgins et al. (2017), section 3.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from vaelab.errors import UserError
from vaelab.functional.disentanglement.inputs import Floats, Ints, Values, array, paired
from vaelab.functional.images import Images, chunks, to_float

CHUNK = 2**21  # numbers in the largest intermediate table: 16 MB


class Labelled(Protocol):
    """Images whose factors are known; a :class:`vaelab.data.ImageSet` is one."""

    @property
    def x(self) -> Images:
        """N images: a tensor (N, C, H, W), or whatever gives them for a tensor of positions."""

    @property
    def factors(self) -> Tensor | None:
        """(N, F), classes."""


Represent = Callable[[Tensor], Values]  # images (B, C, H, W), float -> codes (B, D)


class FactorVAEScore(NamedTuple):
    """Accuracies in [0, 1]; chance is 1 / F."""

    score: float  # on votes that the classifier has not seen; 0 where no dimension is active
    train_score: float
    active_dimensions: int
    votes: Ints  # (D, F)  how often a dimension varied least while a factor was held (training votes)


class BetaVAEScore(NamedTuple):
    """Accuracies in [0, 1]; chance is 1 / F."""

    score: float  # on pairs that the classifier has not seen
    train_score: float


def encoded(represent: Represent, data: Labelled) -> tuple[Values, Values]:
    """The codes and the factors of all images of ``data``, each encoded once.

    Raises:
        UserError: the data have no factors.
    """
    if data.factors is None:
        raise UserError("These data have no ground-truth factors: no images can be paired by them.")
    codes = [array(represent(to_float(part))) for part in chunks(data.x)]
    return np.concatenate(codes), data.factors


def factor_vae_score(
    represent: Represent,
    data: Labelled,
    batch: int = 64,
    train: int = 10_000,
    test: int = 5_000,
    threshold: float = 0.05,
    seed: int = 0,
) -> FactorVAEScore:
    """FactorVAE's disentanglement score (Kim & Mnih 2018, section 4): which dimension stands still?

    A factor is held, at the value of a random image, in ``batch`` images (64): the dimension whose variance
    there is least, as a share of its variance over all images, votes for the factor. The classifier takes
    each dimension to mean the factor that it voted for most often; its accuracy is the score. ``train`` votes
    make it (10,000), ``test`` others measure it (5,000): the sizes of disentanglement_lib.

    Dimensions that collapsed to the prior, whose standard deviation over all images is below ``threshold``
    (0.05 in Locatello et al. 2019), take no part: any factor leaves them still.

    The images of a vote are drawn, with replacement, from those of the set that have the value. In a group of
    n that makes every variance smaller by (n - 1)/n, alike for all dimensions.

    Args:
        represent: images (B, C, H, W), floats, -> codes (B, D), without noise; each image is encoded once.
        data: images and their factors; an :class:`vaelab.data.ImageSet` of a few thousand will do.
    """
    return factor_vae_score_of_codes(*encoded(represent, data), batch, train, test, threshold, seed)


def factor_vae_score_of_codes(
    codes: Values,
    factors: Values,
    batch: int = 64,
    train: int = 10_000,
    test: int = 5_000,
    threshold: float = 0.05,
    seed: int = 0,
) -> FactorVAEScore:
    """:func:`factor_vae_score` of images that are encoded already: codes (N, D), factors (N, F)."""
    z, v = paired(codes, factors)
    _check_sizes(batch=batch, train=train, test=test)
    variance = z.var(0, ddof=1)
    active = np.flatnonzero(np.sqrt(variance) >= threshold)
    nothing = np.zeros((z.shape[1], v.shape[1]), np.int64)
    active = active[variance[active] > 0]
    if not len(active):
        return FactorVAEScore(0.0, 0.0, 0, nothing)
    random = np.random.default_rng(seed)
    kept, spread = z[:, active], variance[active]

    def votes(number: int) -> Ints:
        counts = nothing.copy()
        for factor, drawn in _per_factor(random, number, v.shape[1]):
            for size in _parts(drawn, batch * len(active)):
                held = random.integers(len(z), size=(size, 1)).repeat(batch, axis=1)
                group = kept[_same_value(v[:, factor], held, random)]
                winner = (group.var(1, ddof=1) / spread).argmin(1)
                counts[:, factor] += np.bincount(active[winner], minlength=z.shape[1])
        return counts

    seen = votes(train)
    unseen = votes(test)
    meant, rows = seen.argmax(1), np.arange(z.shape[1])
    return FactorVAEScore(
        float(unseen[rows, meant].sum() / unseen.sum()),
        float(seen[rows, meant].sum() / seen.sum()),
        len(active),
        seen,
    )


def beta_vae_score(
    represent: Represent,
    data: Labelled,
    batch: int = 64,
    train: int = 10_000,
    test: int = 5_000,
    seed: int = 0,
) -> BetaVAEScore:
    """BetaVAE's disentanglement score (Higgins et al. 2017, section 3): which factor do pairs share?

    ``batch`` pairs of images (64) share the value of one factor and nothing else on purpose; their point is
    the mean over pairs of |z - z'|, (D,). A linear classifier, multinomial logistic regression, learns the
    factor from ``train`` such points (10,000), and its accuracy on ``test`` others (5,000) is the score: the
    sizes of disentanglement_lib. The classifier's penalty makes it depend on the scale of the codes.

    It may be 1 though F - 1 dimensions hold all of F factors (Kim & Mnih 2018).

    The second image of a pair is drawn from those of the set that share the value with the first, itself
    included.

    Args:
        represent, data: as for :func:`factor_vae_score`.
    """
    return beta_vae_score_of_codes(*encoded(represent, data), batch, train, test, seed)


def beta_vae_score_of_codes(
    codes: Values,
    factors: Values,
    batch: int = 64,
    train: int = 10_000,
    test: int = 5_000,
    seed: int = 0,
) -> BetaVAEScore:
    """:func:`beta_vae_score` of images that are encoded already: codes (N, D), factors (N, F)."""
    from sklearn.linear_model import LogisticRegression

    z, v = paired(codes, factors)
    _check_sizes(batch=batch, train=train, test=test)
    if v.shape[1] < 2:
        return BetaVAEScore(math.nan, math.nan)  # nothing to tell apart
    random = np.random.default_rng(seed)

    def points(number: int) -> tuple[Floats, Ints]:
        found, labels = [], []
        for factor, drawn in _per_factor(random, number, v.shape[1]):
            for size in _parts(drawn, batch * z.shape[1]):
                first = random.integers(len(z), size=(size, batch))
                second = _same_value(v[:, factor], first, random)
                found.append(np.abs(z[first] - z[second]).mean(1))
                labels.append(np.full(size, factor))
        return np.concatenate(found), np.concatenate(labels)

    seen, unseen = points(train), points(test)
    model = LogisticRegression(max_iter=1000).fit(*seen)
    return BetaVAEScore(float(model.score(*unseen)), float(model.score(*seen)))


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        least = 2 if name == "batch" else 1
        if size < least:
            raise UserError(f"{name}={size} must be at least {least}.")


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
