"""Gradient variance and the cost of noise; the decoder is the identity, its distortion |x - z|^2 / 2 + c."""

import pytest
import torch
from planted_run import PlantedRun, model_with
from torch import Tensor, nn

from builders import ae, random
from support.chance import SIGMAS
from vaelab.evaluation import GradientVariance, NoiseGap, NotApplicable
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import Codes

SCALE = torch.tensor([0.2, 0.5, 1.0, 1.5])


def run(number: int, offset: Tensor, model: Autoencoder | None = None) -> PlantedRun:
    """Posterior means with deviations SCALE, and images that lie ``offset`` from them."""
    loc = torch.randn(number, 4, generator=random()) * torch.tensor([1.0, 2.0, 0.5, 0.0])
    planted = {"test": Codes(loc, SCALE.expand_as(loc), loc)}
    return PlantedRun(model or model_with(nn.Identity()), planted, (loc + offset)[:, None, None])


@pytest.mark.parametrize("size", [0.5, 1.0])
def test_noise_costs_half_its_variance(size):
    """E |x - mu - n|^2 / 2 - |x - mu|^2 / 2 = size^2 / 2 sum_d s_d^2, whatever the image."""
    planted = run(2000, torch.tensor([0.3, -0.5, 0.0, 1.0]))
    spread = planted.codes("test").loc.var(0, correction=0) + SCALE**2  # of the aggregate posterior
    metrics = NoiseGap(images=2000, size=size)(planted)["metrics"]
    exact = size**2 / 2 * spread.sum().item()
    assert abs(metrics["noise_gap"] - exact) <= SIGMAS * metrics["noise_gap_se"]
    assert metrics["noise_gap_se"] < 0.03 * exact


def test_noise_costs_nothing_where_the_decoder_ignores_z():
    ignoring = nn.Linear(4, 4)
    nn.init.zeros_(ignoring.weight)
    result = NoiseGap()(run(50, torch.zeros(4), model_with(ignoring)))
    assert result["metrics"]["noise_gap"] == 0
    assert result["protocol"]["images"] == 50


def test_the_gradients_variance_has_a_closed_form():
    """For |z - x|^2 / 2, m = mu - x: Var = s^2 (mu) and m^2 s^2 + 2 s^4 (log sigma), over 8 draws."""
    offset = torch.tensor([0.3, -0.5, 0.0, 1.0])
    result = GradientVariance(images=20, repetitions=200)(run(30, offset))
    exact = (SCALE**2 + offset**2 * SCALE**2 + 2 * SCALE**4).sum().item() / 8
    metrics = result["metrics"]
    assert metrics["gradient_variance_reparametrised"] == pytest.approx(exact, rel=0.1)
    assert metrics["gradient_variance_ratio"] > metrics["gradient_variance_ratio_baseline"] > 2
    assert metrics["gradient_variance_ratio"] == pytest.approx(
        metrics["gradient_variance_score"] / metrics["gradient_variance_reparametrised"]
    )
    assert 0.6 < metrics["gradient_difference"] < 1.5
    assert result["protocol"]["images"] == 20


def test_a_deterministic_code_has_no_gradient_to_estimate():
    with pytest.raises(NotApplicable, match="diagonal Gaussian"):
        GradientVariance()(run(3, torch.zeros(4), ae(4)))


@pytest.mark.parametrize(
    ("evaluation", "setting"),
    [
        *((GradientVariance, setting) for setting in ({"images": 0}, {"samples": 1}, {"repetitions": 1})),
        *((NoiseGap, setting) for setting in ({"images": 1}, {"draws": 0}, {"size": 0.0})),
    ],
)
def test_settings_that_are_too_small_are_refused(evaluation, setting):
    with pytest.raises(ValueError, match=f"^{next(iter(setting))} must be >"):
        evaluation(**setting)
