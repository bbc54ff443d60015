"""All metrics at once, as one flat dictionary of numbers."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaelab.disentanglement.dci import dci
from vaelab.disentanglement.information import mig, mig_chen, modularity
from vaelab.disentanglement.inputs import Values, array, binned, code_array, factor_array
from vaelab.disentanglement.interventions import beta_vae_score_of_codes, factor_vae_score_of_codes
from vaelab.disentanglement.irs import irs
from vaelab.disentanglement.predictors import explicitness, sap
from vaelab.disentanglement.unsupervised import gaussian_total_correlation, wasserstein_correlation
from vaelab.errors import UserError, did_you_mean


class Sample(NamedTuple):
    """What the metrics are computed from: codes and factors of N images."""

    loc: Any  # (N, D)  posterior means
    scale: Any  # (N, D)  posterior standard deviations; None where there are none
    factors: Any  # (N, F)  classes
    seed: int


class Classes(NamedTuple):
    """Factors made fit for metrics that need classes, and what was done to them."""

    values: NDArray[Any]  # (N, F')
    constant: list[int]  # columns left out, since all images have the same value
    binned: list[int]  # columns cut into bins, since hardly two images share a value


def as_classes(factors: Values, bins: int = 20) -> Classes:
    """Factors as metrics need them: (N, F) -> those that vary; continuous ones cut into ``bins`` of equal width.

    A factor counts as continuous where on average fewer than two images share a value.
    """
    found = factor_array(factors)
    distinct = np.array([len(np.unique(column)) for column in found.T])
    continuous = 2 * distinct > len(found)
    columns = [
        binned(c[:, None], bins)[:, 0] if cut else c for c, cut in zip(found.T, continuous, strict=True)
    ]
    varies = np.flatnonzero(distinct > 1)
    kept = [columns[i] for i in varies]
    values = np.stack(kept, axis=1) if kept else np.empty((len(found), 0), np.int64)
    return Classes(
        values,
        [i for i in range(len(columns)) if distinct[i] == 1],
        [int(i) for i in varies if continuous[i]],
    )


def _dci(sample: Sample) -> dict[str, float]:
    found = dci(sample.loc, sample.factors, seed=sample.seed)
    parts = ("disentanglement", "completeness", "informativeness")
    return {f"dci_{part}": getattr(found, part) for part in parts}


def _modularity(sample: Sample) -> dict[str, float]:
    found = modularity(sample.loc, sample.factors)
    return {"modularity": found.score, "modularity_of_active": found.active_score}


def _factor_vae(sample: Sample) -> dict[str, float]:
    found = factor_vae_score_of_codes(sample.loc, sample.factors, seed=sample.seed)
    return {"factor_vae": found.score, "factor_vae_active_dimensions": float(found.active_dimensions)}


def _beta_vae(sample: Sample) -> dict[str, float]:
    return {"beta_vae": beta_vae_score_of_codes(sample.loc, sample.factors, seed=sample.seed).score}


def _irs(sample: Sample) -> dict[str, float]:
    found = irs(sample.loc, sample.factors)
    return {"irs": found.score, "irs_active_dimensions": float(found.active_dimensions)}


def _mig_chen(sample: Sample) -> dict[str, float]:
    if sample.scale is None or not array(sample.scale).all():
        return {"mig_chen": math.nan}  # without a density
    return {"mig_chen": mig_chen(sample.loc, sample.scale, sample.factors, seed=sample.seed).score}


def _unsupervised(sample: Sample) -> dict[str, float]:
    correlation = gaussian_total_correlation(sample.loc)
    return {
        "gaussian_total_correlation": correlation if math.isfinite(correlation) else math.nan,
        "wasserstein_correlation": wasserstein_correlation(sample.loc),
        "wasserstein_correlation_normalised": wasserstein_correlation(sample.loc, normalised=True),
    }


METRICS: dict[str, Callable[[Sample], dict[str, float]]] = {
    "mig": lambda sample: {"mig": mig(sample.loc, sample.factors).score},
    "mig_chen": _mig_chen,
    "dci": _dci,
    "sap": lambda sample: {"sap": sap(sample.loc, sample.factors, seed=sample.seed).score},
    "modularity": _modularity,
    "explicitness": lambda s: {"explicitness": explicitness(s.loc, s.factors, seed=s.seed).score},
    "factor_vae": _factor_vae,
    "beta_vae": _beta_vae,
    "irs": _irs,
    "unsupervised": _unsupervised,
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
        factors: (N, F), classes.
        scale: (N, D), posterior standard deviations, for ``mig_chen``, which is NaN without or where any is 0.

    Raises:
        UserError: no metric has a name; what the metrics say of codes and factors.
    """
    names = check_names(metrics)
    sample = Sample(code_array(codes), scale, factors, seed)
    return {key: value for name in names for key, value in METRICS[name](sample).items()}
