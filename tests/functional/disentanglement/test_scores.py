import math

import numpy as np
import pytest
import torch
from planted_codes import codes, grid

from vaelab.functional.disentanglement import METRICS, as_classes, dci, irs, mig, mig_chen, sap, scores

QUICK = ("mig", "mig_chen", "sap", "modularity", "irs", "unsupervised")


def test_scores_are_those_of_the_functions():
    factors = grid(repeats=5)
    z, scale = codes(factors, noise=0.3, idle=1), np.full((300, 4), 0.3)
    found = scores(z, factors, scale, metrics=(*QUICK, "dci"), seed=1)
    assert found["mig"] == mig(z, factors).score
    assert found["mig_chen"] == mig_chen(z, scale, factors, seed=1).score
    assert found["sap"] == sap(z, factors, seed=1).score
    assert found["irs"] == irs(z, factors).score
    assert found["irs_active_dimensions"] == 4
    of_dci = dci(z, factors, seed=1)
    assert [found[f"dci_{part}"] for part in ("disentanglement", "completeness", "informativeness")] == [
        of_dci.disentanglement,
        of_dci.completeness,
        of_dci.informativeness,
    ]


def test_all_metrics_of_a_nearly_perfect_code():
    factors = grid(2, 3, repeats=30)
    found = scores(codes(factors, noise=0.02, empty=1), factors, np.full((180, 3), 0.1))
    assert set(found) == {name for measure in METRICS.values() for name in measure.names}
    for name in ("mig", "mig_chen", "dci_disentanglement", "dci_completeness", "factor_vae", "beta_vae"):
        assert found[name] > 0.95, name
    assert found["factor_vae_active_dimensions"] == found["irs_active_dimensions"] == 2
    assert found["gaussian_total_correlation"] < 0.01
    assert math.isnan(scores(codes(factors), factors, None, ["mig_chen"])["mig_chen"])


def test_factors_are_made_fit():
    varied = np.arange(40) % 3
    raw = np.stack([varied, np.full(40, 7), np.linspace(0, 1, 40)], axis=1)
    found = as_classes(torch.from_numpy(raw), bins=4)
    assert (found.constant, found.binned) == ([1], [2])
    assert (found.values == np.stack([varied, np.repeat(range(4), 10)], axis=1)).all()
    assert as_classes(np.ones((5, 2))).values.shape == (5, 0)


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="got 'migg'"):
        scores(codes(grid()), grid(), metrics=["migg"])
