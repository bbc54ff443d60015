"""Disentanglement scores of planted codes, and the ranking of several runs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from planted_run import PlantedRun
from torch import Tensor

from builders import random
from vaelab.errors import UserError
from vaelab.evaluation import DisentanglementScores, NotApplicable
from vaelab.evaluation.disentanglement_scores import udr_of_runs
from vaelab.functional.disentanglement import mig, scores, udr
from vaelab.models.latent_codes import Codes


def run(loc: Tensor, scale: Tensor, factors: Tensor | None, pixel: float = 0.0) -> PlantedRun:
    images = torch.full((len(loc), 1, 2, 2), pixel)
    data = SimpleNamespace(factor_names=("shape", "colour", "size") if factors is not None else ())
    return PlantedRun(None, {"test": Codes(loc, scale, loc, None, factors)}, images, data)


def planted(number: int = 240, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Means, deviations and factors; the second of three factors never varies."""
    index = torch.arange(number)
    factors = torch.stack([index % 3, torch.full_like(index, 2), index // 3 % 4], dim=1)
    loc = (factors - factors.float().mean(0)) + 0.1 * torch.randn(number, 3, generator=random(seed))
    return loc, torch.full_like(loc, 0.2), factors


def test_the_numbers_are_those_of_the_functions():
    loc, scale, factors = planted()
    result = DisentanglementScores(images=10_000)(run(loc, scale, factors))
    assert result["metrics"] == pytest.approx(scores(loc, factors[:, [0, 2]], scale), nan_ok=True)
    assert result["metrics"]["mig"] > 0.8
    protocol = result["protocol"]
    assert (protocol["images"], protocol["images_asked_for"]) == (240, 10_000)
    assert (protocol["factors"], protocol["constant_factors"]) == (["shape", "size"], ["colour"])
    assert protocol["factors_in_20_bins"] == []


def test_a_choice_of_images_and_metrics():
    loc, scale, factors = planted()
    result = DisentanglementScores(images=120, metrics=["mig"])(run(loc, scale, factors))
    assert result["metrics"] == {"mig": mig(loc[:120], factors[:120, [0, 2]]).score}
    assert result["protocol"]["images"] == 120
    assert "sap" not in result["protocol"]
    with pytest.raises(ValueError, match="images must be >= 2, got 1"):
        DisentanglementScores(images=1)


def test_continuous_factors_are_cut_into_bins():
    loc, scale, factors = planted()
    mixed = factors.double()
    mixed[:, 1] = torch.linspace(0, 1, 240)
    result = DisentanglementScores(metrics=["mig"], factor_bins=5)(run(loc, scale, mixed))
    assert result["protocol"]["factors_in_5_bins"] == ["colour"]
    mixed[:, 1] = (mixed[:, 1] * 5).floor().clamp(max=4)
    assert result["metrics"]["mig"] == pytest.approx(mig(loc, mixed).score)


def test_a_deterministic_run_has_all_but_chens_gap():
    loc, scale, factors = planted()
    metrics = DisentanglementScores(metrics=["mig", "mig_chen"])(run(loc, 0 * scale, factors))["metrics"]
    assert np.isnan(metrics["mig_chen"])
    assert metrics["mig"] == mig(loc, factors[:, [0, 2]]).score


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda loc, scale, factors: (loc, scale, None), "no ground-truth factors"),
        (lambda loc, scale, factors: (loc[:, :1], scale[:, :1], factors), "single dimension"),
        (lambda loc, scale, factors: (loc, scale, factors[:, :2]), "fewer than two factors vary"),
    ],
)
def test_it_may_not_apply(change, message):
    with pytest.raises(NotApplicable, match=message):
        DisentanglementScores()(run(*change(*planted())))


def test_udr_of_runs_takes_the_kl_of_their_posteriors():
    tables = [planted(seed=seed)[:2] for seed in range(3)]
    tables[0][1][:, 1] = 1.0  # loc there is noise of 0.1: a KL of 0.005
    result = udr_of_runs([run(*table, None) for table in tables], images=200, similarity="spearman")
    kl = [(0.5 * (loc**2 + scale**2 - 1) - scale.log())[:200].mean(0) for loc, scale in tables]
    expected = udr([(loc[:200], k) for (loc, _), k in zip(tables, kl, strict=True)], "spearman")
    assert result["metrics"]["udr_informative_dimensions"] == [2, 3, 3]
    assert result["metrics"]["udr"] == pytest.approx(expected.scores.tolist())
    assert result["protocol"]["images"] == 200


def test_udr_needs_densities_and_the_same_images():
    loc, scale, _ = planted()
    with pytest.raises(NotApplicable, match="no density"):
        udr_of_runs([run(loc, scale, None), run(loc, 0 * scale, None)])
    with pytest.raises(UserError, match="same test images"):
        udr_of_runs([run(loc, scale, None), run(loc, scale, None, pixel=1.0)])
    with pytest.raises(UserError, match="at least 2"):
        udr_of_runs([run(loc, scale, None)])
