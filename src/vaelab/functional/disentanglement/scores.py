"""All metrics at once, as one flat dictionary of numbers."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaelab.functional.disentanglement.dci import MODEL, dci
from vaelab.functional.disentanglement.information import CHEN, LOCATELLO, mig, mig_chen, modularity
from vaelab.functional.disentanglement.inputs import Values, binned, code_array, table
from vaelab.functional.disentanglement.interventions import beta_vae_score, factor_vae_score
from vaelab.functional.disentanglement.irs import irs
from vaelab.functional.disentanglement.predictors import explicitness, sap
from vaelab.functional.disentanglement.unsupervised import gaussian_total_correlation, wasserstein_correlation

__all__ = ["METRICS", "Classes", "Measure", "as_classes", "check_names", "scores"]


class Sample(NamedTuple):
    """What the metrics are computed from: codes and factors of N images."""

    loc: Any  # (N, D)  posterior means
    scale: Any  # (N, D)  posterior standard deviations; 0 where they are not known
    factors: Any  # (N, F)  classes
    seed: int


class Measure(NamedTuple):
    """A metric with its default protocol, as :func:`scores` reports it."""

    function: Callable[[Sample], Any]
    names: dict[str, str]  # of its numbers -> the attribute of the result that holds the number
    protocol: str  # with its source


class Classes(NamedTuple):
    """Factors for metrics that need classes, and how they were changed."""

    values: NDArray[Any]  # (N, F')
    constant: list[int]  # columns left out, since all images have the same value
    binned: list[int]  # columns cut into bins, since hardly two images share a value


class Unsupervised(NamedTuple):
    """Metrics of the codes alone."""

    gaussian_total_correlation: float
    wasserstein_correlation: float
    wasserstein_correlation_normalised: float


def as_classes(factors: Values, bins: int = 20) -> Classes:
    """Factors as metrics need them: (N, F) -> those that vary, continuous ones cut into ``bins`` bins.

    A factor counts as continuous where on average fewer than two images share a value; bins have equal width.
    """
    rows = table(factors, "factors")
    distinct = np.array([len(np.unique(column)) for column in rows.T])
    constant = np.flatnonzero(distinct == 1).tolist()
    continuous = np.flatnonzero((2 * distinct > len(rows)) & (distinct > 1)).tolist()
    columns = [
        binned(column[:, None], bins)[:, 0] if i in continuous else column
        for i, column in enumerate(rows.T)
        if i not in constant
    ]
    values = np.stack(columns, axis=1) if columns else np.empty((len(rows), 0), np.int64)
    return Classes(values, constant, continuous)


def _unsupervised(sample: Sample) -> Unsupervised:
    correlation = gaussian_total_correlation(sample.loc)
    return Unsupervised(
        correlation if math.isfinite(correlation) else math.nan,
        wasserstein_correlation(sample.loc),
        wasserstein_correlation(sample.loc, normalised=True),
    )


METRICS = {
    "mig": Measure(lambda s: mig(s.loc, s.factors), {"mig": "score"}, f"{LOCATELLO}, 20"),
    "mig_chen": Measure(
        lambda s: mig_chen(s.loc, s.scale, s.factors, seed=s.seed), {"mig_chen": "score"}, CHEN
    ),
    "dci": Measure(
        lambda s: dci(s.loc, s.factors, seed=s.seed),
        {f"dci_{part}": part for part in ("disentanglement", "completeness", "informativeness")},
        f"Eastwood & Williams 2018, {MODEL}; a third of the images for the test",
    ),
    "sap": Measure(
        lambda s: sap(s.loc, s.factors, seed=s.seed),
        {"sap": "score"},
        "Kumar et al. 2018, linear SVM, C = 0.01; a third of the images for the test",
    ),
    "modularity": Measure(
        lambda s: modularity(s.loc, s.factors),
        {"modularity": "score", "modularity_of_active": "active_score"},
        "Ridgeway & Mozer 2018, 20 bins; the mean over all dimensions, and over those with any information",
    ),
    "explicitness": Measure(
        lambda s: explicitness(s.loc, s.factors, seed=s.seed),
        {"explicitness": "score"},
        "Ridgeway & Mozer 2018, logistic regression, value by value; a third of the images for the test",
    ),
    "factor_vae": Measure(
        lambda s: factor_vae_score(s.loc, s.factors, seed=s.seed),
        {"factor_vae": "score", "factor_vae_active_dimensions": "active_dimensions"},
        "Kim & Mnih 2018, 10,000 and 5,000 votes of 64 images; active: standard deviation of at least 0.05",
    ),
    "beta_vae": Measure(
        lambda s: beta_vae_score(s.loc, s.factors, seed=s.seed),
        {"beta_vae": "score"},
        "Higgins et al. 2017, 10,000 and 5,000 points of 64 pairs, logistic regression",
    ),
    "irs": Measure(
        lambda s: irs(s.loc, s.factors),
        {"irs": "score", "irs_active_dimensions": "active_dimensions"},
        "Suter et al. 2019, 99% quantile, factors in 20 bins; active: not constant",
    ),
    "unsupervised": Measure(
        _unsupervised,
        {name: name for name in Unsupervised._fields},
        "Locatello et al. 2019, of the covariance of the posterior means",
    ),
}


def check_names(metrics: Iterable[str]) -> tuple[str, ...]:
    """The names as a tuple; a ValueError for one that is not a metric's."""
    names = tuple(metrics)
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise ValueError(f"metrics must be among {', '.join(METRICS)}, got {', '.join(map(repr, unknown))}")
    return names


def scores(
    codes: Values,
    factors: Values,
    scale: Values | None = None,
    metrics: Iterable[str] = tuple(METRICS),
    seed: int = 0,
) -> dict[str, float]:
    """The metrics named, each with its default protocol, as flat numbers.

    Args:
        codes: (N, D), posterior means; D >= 2.
        factors: (N, F), classes: see :func:`as_classes`.
        scale: (N, D), posterior standard deviations, for ``mig_chen``: NaN without them or where any is 0.
        seed: of splits, draws and models.

    Raises:
        ValueError: a name is not a metric's, or codes and factors do not fit a metric.
    """
    z = code_array(codes)
    sample = Sample(z, np.zeros_like(z) if scale is None else scale, factors, seed)
    numbers: dict[str, float] = {}
    for measure in map(METRICS.__getitem__, check_names(metrics)):
        result = measure.function(sample)
        numbers |= {name: float(getattr(result, field)) for name, field in measure.names.items()}
    return numbers
