"""All metrics at once, as one flat dictionary of numbers."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaelab.errors import UserError, did_you_mean
from vaelab.functional.disentanglement.dci import MODELS, dci
from vaelab.functional.disentanglement.information import CHEN, LOCATELLO, mig, mig_chen, modularity
from vaelab.functional.disentanglement.inputs import Values, array, binned, code_array, factor_array
from vaelab.functional.disentanglement.interventions import beta_vae_score_of_codes, factor_vae_score_of_codes
from vaelab.functional.disentanglement.irs import irs
from vaelab.functional.disentanglement.predictors import explicitness, sap
from vaelab.functional.disentanglement.unsupervised import gaussian_total_correlation, wasserstein_correlation


class Sample(NamedTuple):
    """What the metrics are computed from: codes and factors of N images."""

    loc: Any  # (N, D)  posterior means
    scale: Any  # (N, D)  posterior standard deviations; None where there are none
    factors: Any  # (N, F)  classes
    seed: int


class Measure(NamedTuple):
    """A metric as :func:`scores` reports it."""

    names: tuple[str, ...]  # of its numbers
    values: Callable[[Sample], tuple[float, ...]]
    protocol: str  # in words, with its source


class Classes(NamedTuple):
    """Factors made fit for metrics that need classes, and what was done to them."""

    values: NDArray[Any]  # (N, F')
    constant: list[int]  # columns left out, since all images have the same value
    binned: list[int]  # columns cut into bins, since hardly two images share a value


def as_classes(factors: Values, bins: int = 20) -> Classes:
    """Factors as metrics need them: (N, F) -> those that vary, continuous ones cut into ``bins`` bins.

    A factor counts as continuous where on average fewer than two images share a value; bins have equal width.
    """
    found = factor_array(factors)
    distinct = np.array([len(np.unique(column)) for column in found.T])
    constant = np.flatnonzero(distinct == 1).tolist()
    continuous = np.flatnonzero((2 * distinct > len(found)) & (distinct > 1)).tolist()
    columns = [
        binned(column[:, None], bins)[:, 0] if i in continuous else column
        for i, column in enumerate(found.T)
        if i not in constant
    ]
    values = np.stack(columns, axis=1) if columns else np.empty((len(found), 0), np.int64)
    return Classes(values, constant, continuous)


def _mig_chen(sample: Sample) -> tuple[float]:
    if sample.scale is None or not array(sample.scale).all():
        return (math.nan,)  # without a density
    return (mig_chen(sample.loc, sample.scale, sample.factors, seed=sample.seed).score,)


def _factor_vae(sample: Sample) -> tuple[float, ...]:
    found = factor_vae_score_of_codes(sample.loc, sample.factors, seed=sample.seed)
    return found.score, float(found.active_dimensions)


def _irs(sample: Sample) -> tuple[float, ...]:
    found = irs(sample.loc, sample.factors)
    return found.score, float(found.active_dimensions)


def _modularity(sample: Sample) -> tuple[float, ...]:
    return modularity(sample.loc, sample.factors)[:2]


def _unsupervised(sample: Sample) -> tuple[float, ...]:
    correlation = gaussian_total_correlation(sample.loc)
    return (
        correlation if math.isfinite(correlation) else math.nan,
        wasserstein_correlation(sample.loc),
        wasserstein_correlation(sample.loc, normalised=True),
    )


METRICS = {
    "mig": Measure(("mig",), lambda s: (mig(s.loc, s.factors).score,), f"{LOCATELLO}, 20"),
    "mig_chen": Measure(("mig_chen",), _mig_chen, CHEN),
    "dci": Measure(
        ("dci_disentanglement", "dci_completeness", "dci_informativeness"),
        lambda s: dci(s.loc, s.factors, seed=s.seed)[:3],
        f"Eastwood & Williams 2018, {MODELS['boosting']}; a third of the images for the test",
    ),
    "sap": Measure(
        ("sap",),
        lambda s: (sap(s.loc, s.factors, seed=s.seed).score,),
        "Kumar et al. 2018, linear SVM, C = 0.01; a third of the images for the test",
    ),
    "modularity": Measure(
        ("modularity", "modularity_of_active"),
        _modularity,
        "Ridgeway & Mozer 2018, 20 bins; the mean over all dimensions, and over those with any information",
    ),
    "explicitness": Measure(
        ("explicitness",),
        lambda s: (explicitness(s.loc, s.factors, seed=s.seed).score,),
        "Ridgeway & Mozer 2018, logistic regression, value by value; a third of the images for the test",
    ),
    "factor_vae": Measure(
        ("factor_vae", "factor_vae_active_dimensions"),
        _factor_vae,
        "Kim & Mnih 2018, 10,000 and 5,000 votes of 64 images; active: standard deviation of at least 0.05",
    ),
    "beta_vae": Measure(
        ("beta_vae",),
        lambda s: (beta_vae_score_of_codes(s.loc, s.factors, seed=s.seed).score,),
        "Higgins et al. 2017, 10,000 and 5,000 points of 64 pairs, logistic regression",
    ),
    "irs": Measure(
        ("irs", "irs_active_dimensions"),
        _irs,
        "Suter et al. 2019, 99% quantile, factors in 20 bins; active: not constant",
    ),
    "unsupervised": Measure(
        ("gaussian_total_correlation", "wasserstein_correlation", "wasserstein_correlation_normalised"),
        _unsupervised,
        "Locatello et al. 2019, of the covariance of the posterior means",
    ),
}


def check_names(metrics: Iterable[str]) -> tuple[str, ...]:
    """The names as a tuple; a UserError for one that is no metric's."""
    names = tuple(metrics)
    for name in names:
        if name not in METRICS:
            raise UserError(f"{name!r} is no disentanglement metric. {did_you_mean(name, METRICS)}")
    return names


def scores(
    codes: Values,
    factors: Values,
    scale: Values | None = None,
    metrics: Iterable[str] = tuple(METRICS),
    seed: int = 0,
) -> dict[str, float]:
    """The metrics of that name (all of them, unless said), each with its default protocol, as flat numbers.

    Args:
        codes: (N, D), posterior means; D >= 2.
        factors: (N, F), classes: see :func:`as_classes`.
        scale: (N, D), posterior standard deviations, for ``mig_chen``: NaN without them or where any is 0.
        seed: of splits, draws and models.

    Raises:
        UserError: a name is no metric's; whatever the metrics say of codes and factors.
    """
    names = check_names(metrics)
    sample = Sample(code_array(codes), scale, factors, seed)
    chosen = [METRICS[name] for name in names]
    return {
        name: float(value)
        for measure in chosen
        for name, value in zip(measure.names, measure.values(sample), strict=True)
    }
