"""The evaluations of -log p(x): signs, units, standard errors, undefined numbers and the protocol."""

import json
import math

import pytest
import torch
from torch import Tensor

from builders import ae, random, vae
from vaelab.evaluation import AIS, ImportanceNLL, NotApplicable
from vaelab.evaluation.marginal_likelihood import Annealing, annealed_estimate, importance_estimate, simulate
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.likelihoods import Gaussian

NUMBER = 9
QUICK = {"chains": 4, "steps": 20, "images": 5, "simulated": 6, "leapfrog_steps": 3, "pilot_chains": 2}


class Run:
    """As much of a TrainedRun as these evaluations ask for."""

    def __init__(self, model: Autoencoder, x: Tensor) -> None:
        self.model = model.eval()
        self.x = x
        self.labels_seen: list[str] = []

    def images(self, split: str, limit: int | None = None) -> Tensor:
        return self.x[:limit]

    def labels(self, split: str, limit: int | None = None) -> None:
        return None

    def progress(self, iterable, label: str, total: int | None = None):
        self.labels_seen.append(label)
        return iterable


def binary(number: int = NUMBER) -> Tensor:
    return (torch.rand(number, 1, 4, 4, generator=random(2)) > 0.4).float()


def test_importance_is_the_bound_with_its_sign_turned():
    run = Run(vae(), binary())
    result = ImportanceNLL(samples=50, batch=4)(run)
    found = importance_estimate(run.model, run.x, samples=50)
    metrics = result["metrics"]
    bounds = found.bound.tolist()
    mean = sum(bounds) / NUMBER
    assert metrics["nll_importance"] == pytest.approx(-mean)
    assert metrics["nll_importance"] > 5  # 16 pixels, each about a coin: 16 ln 2 = 11 nats
    spread = math.sqrt(sum((bound - mean) ** 2 for bound in bounds) / (NUMBER - 1))
    assert metrics["nll_importance_se"] == pytest.approx(spread / 3)
    assert metrics["nll_importance_bits"] == pytest.approx(-mean / (16 * math.log(2)))
    assert metrics["elbo_gap"] == pytest.approx(mean - found.elbo.mean().item())
    assert metrics["elbo_gap"] > 0
    assert 1 < metrics["importance_ess"] < 50
    assert run.labels_seen == ["importance bound"]


def test_annealing_reports_both_kinds_of_images():
    run = Run(vae(), binary())
    metrics = AIS(**QUICK)(run)["metrics"]
    settings = Annealing(4, 20, leapfrog_steps=3, pilot_chains=2)
    real = annealed_estimate(run.model, run.x[:5], annealing=settings)
    assert metrics["nll_ais"] == pytest.approx(-real.lower.mean().item())
    assert metrics["nll_ais_bits"] == pytest.approx(metrics["nll_ais"] / (16 * math.log(2)))
    assert metrics["ais_acceptance"] == pytest.approx(real.acceptance.mean().item())
    made = simulate(run.model, 6, (1, 4, 4))
    both = annealed_estimate(run.model, made.x, annealing=settings, exact=made.z)
    assert metrics["ais_simulated_lower"] == pytest.approx(both.lower.mean().item())
    assert metrics["ais_gap"] == pytest.approx((both.upper - both.lower).mean().item())
    assert metrics["ais_gap_se"] == pytest.approx((both.upper - both.lower).std().item() / 6**0.5)


def test_bits_are_left_out_where_they_mean_nothing():
    """Grey pixels under a Bernoulli likelihood, or a density."""
    grey = torch.rand(NUMBER, 1, 4, 4, generator=random(2))
    for model, x in ((vae(), grey), (vae(likelihood=Gaussian(0.1)), binary())):
        for evaluation, name in ((ImportanceNLL(samples=3), "importance"), (AIS(**QUICK), "ais")):
            metrics = evaluation(Run(model, x))["metrics"]
            assert math.isnan(metrics[f"nll_{name}_bits"])
            assert math.isfinite(metrics[f"nll_{name}"])


def test_numbers_that_are_undefined_are_nan():
    none_simulated = AIS(**{**QUICK, "simulated": 0})(Run(vae(), binary()))["metrics"]
    one_image = ImportanceNLL(samples=3, images=1)(Run(vae(), binary()))["metrics"]
    undefined = {name for name, value in (none_simulated | one_image).items() if math.isnan(value)}
    simulated = {
        f"ais_{name}{end}" for name in ("gap", "simulated_lower", "simulated_upper") for end in ("", "_se")
    }
    assert undefined == {*simulated, "nll_importance_se", "elbo_gap_se"}


def test_the_protocol_names_the_sizes():
    run = Run(vae(), binary())
    protocols = [e(run)["protocol"] for e in (ImportanceNLL(samples=7, images=4), AIS(**QUICK))]
    assert json.loads(json.dumps(protocols)) == protocols
    assert protocols[0].items() >= {"samples": 7, "images": 4, "split": "test"}.items()
    assert protocols[1].items() >= {**QUICK, "schedule": "sigmoid", "start": "prior"}.items()


def test_what_does_not_apply_says_so():
    run = Run(ae(), binary())
    with pytest.raises(NotApplicable, match="the posterior is deterministic"):
        ImportanceNLL(samples=3)(run)
    with pytest.raises(NotApplicable, match="the posterior is deterministic"):
        AIS(**QUICK, start="posterior")(run)
    assert math.isfinite(AIS(**QUICK)(run)["metrics"]["nll_ais"])


@pytest.mark.parametrize(
    ("evaluation", "setting", "message"),
    [
        (AIS, {"schedule": "cosine"}, "schedule must be sigmoid or linear, got cosine"),
        (AIS, {"start": "q"}, "start must be prior or posterior, got q"),
        (AIS, {"chains": 0}, "chains must be >= 1, got 0"),
        (AIS, {"images": 0}, "images must be >= 1, got 0"),
        (ImportanceNLL, {"samples": 0}, "samples must be >= 1, got 0"),
    ],
)
def test_settings_are_checked_before_any_run(evaluation, setting, message):
    with pytest.raises(ValueError, match=message):
        evaluation(**setting)
