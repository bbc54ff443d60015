from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vaelab.errors import UserError
from vaelab.evaluation.disentanglement_scores import DisentanglementScores, udr_of_runs
from vaelab.evaluation.trained_run import Codes, NotApplicable
from vaelab.functional.disentanglement import mig, scores, udr


class FakeRun:
    """A run with known codes."""

    def __init__(self, loc: Tensor, scale: Tensor, factors: Tensor | None, first_pixel: float = 0.0) -> None:
        self.folder = Path("runs/fake")
        self.known = Codes(loc, scale, loc, None, factors)
        self.data = SimpleNamespace(factor_names=("shape", "colour", "size") if factors is not None else ())
        self.pixel = first_pixel

    def codes(self, split: str, limit: int | None = None) -> Codes:
        assert split == "test"
        return Codes(*(None if part is None else part[:limit] for part in self.known))

    def images(self, split: str, limit: int | None = None) -> Tensor:
        return torch.full((len(self.known.loc), 1, 2, 2), self.pixel)[:limit]

    def progress(self, iterable: Any, label: str, total: int | None = None) -> Any:
        return iterable


def planted(number: int = 240, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    index = torch.arange(number)
    factors = torch.stack([index % 3, torch.full_like(index, 2), index // 3 % 4], dim=1)
    noise = torch.randn(number, 3, generator=torch.Generator().manual_seed(seed))
    loc = (factors - factors.float().mean(0)) + 0.1 * noise
    return loc, torch.full_like(loc, 0.2), factors


def test_the_numbers_are_those_of_the_functions():
    loc, scale, factors = planted()
    found = DisentanglementScores(images=10_000)(FakeRun(loc, scale, factors))
    assert found["metrics"] == pytest.approx(scores(loc, factors[:, [0, 2]], scale), nan_ok=True)
    assert found["metrics"]["mig"] > 0.8
    protocol = found["protocol"]
    assert (protocol["images"], protocol["images_asked_for"]) == (240, 10_000)
    assert (protocol["factors"], protocol["constant_factors"]) == (["shape", "size"], ["colour"])
    assert protocol["factors_in_20_bins"] == []
    assert "Locatello" in protocol["mig"]
    assert "Chen" in protocol["mig_chen"]
    assert "boost" in protocol["dci"]


def test_a_choice_of_images_and_metrics():
    loc, scale, factors = planted()
    found = DisentanglementScores(images=120, metrics=["mig"])(FakeRun(loc, scale, factors))
    assert found["metrics"] == {"mig": mig(loc[:120], factors[:120, [0, 2]]).score}
    assert found["protocol"]["images"] == 120
    assert "sap" not in found["protocol"]


def test_continuous_factors_are_cut_into_bins():
    loc, scale, factors = planted()
    mixed = factors.double()
    mixed[:, 1] = torch.linspace(0, 1, 240)
    found = DisentanglementScores(metrics=["mig"], factor_bins=5)(FakeRun(loc, scale, mixed))
    assert found["protocol"]["factors_in_5_bins"] == ["colour"]
    mixed[:, 1] = (mixed[:, 1] * 5).floor().clamp(max=4)
    assert found["metrics"]["mig"] == pytest.approx(mig(loc, mixed).score)


def test_a_deterministic_run_has_all_but_chens_gap():
    loc, scale, factors = planted()
    found = DisentanglementScores(metrics=["mig", "mig_chen"])(FakeRun(loc, 0 * scale, factors))["metrics"]
    assert np.isnan(found["mig_chen"])
    assert found["mig"] == mig(loc, factors[:, [0, 2]]).score


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda loc, scale, factors: (loc, scale, None), "no ground-truth factors"),
        (lambda loc, scale, factors: (loc[:, :1], scale[:, :1], factors), "single dimension"),
        (lambda loc, scale, factors: (loc, scale, factors[:, :2]), "fewer than two factors vary"),
    ],
)
def test_it_may_make_no_sense(change, words):
    with pytest.raises(NotApplicable, match=words):
        DisentanglementScores()(FakeRun(*change(*planted())))


def test_settings_are_checked():
    with pytest.raises(UserError, match="at least 2 images"):
        DisentanglementScores(images=0)
    with pytest.raises(ValueError, match="must be among"):
        DisentanglementScores(metrics=["beauty"])


def test_udr_of_runs_takes_the_kl_of_their_posteriors():
    tables = [planted(seed=seed) for seed in range(3)]
    runs = [FakeRun(loc, scale, None) for loc, scale, _ in tables]
    runs[0].known.scale[:, 1] = 1.0  # loc there is noise of 0.1: a KL of 0.005
    found = udr_of_runs(runs, images=200, similarity="spearman")
    kl = [(0.5 * (r.known.loc**2 + r.known.scale**2 - 1) - r.known.scale.log())[:200].mean(0) for r in runs]
    expected = udr([(r.known.loc[:200], k) for r, k in zip(runs, kl, strict=True)], "spearman")
    assert found["metrics"]["udr_informative_dimensions"] == [2, 3, 3]
    assert found["metrics"]["udr"] == pytest.approx(expected.scores.tolist())
    assert found["metrics"]["udr_mean"] == pytest.approx(expected.scores.mean())
    assert found["pairwise"][0][1] == pytest.approx(expected.pairwise[0, 1])
    assert found["protocol"]["images"] == 200


def test_udr_needs_densities_and_the_same_images():
    loc, scale, _ = planted()
    with pytest.raises(NotApplicable, match="no density"):
        udr_of_runs([FakeRun(loc, scale, None), FakeRun(loc, 0 * scale, None)])
    with pytest.raises(UserError, match="same test images"):
        udr_of_runs([FakeRun(loc, scale, None), FakeRun(loc, scale, None, first_pixel=1.0)])
    with pytest.raises(UserError, match="at least 2"):
        udr_of_runs([FakeRun(loc, scale, None)])
