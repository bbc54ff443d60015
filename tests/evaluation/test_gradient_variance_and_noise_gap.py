"""Gradient variance and the cost of noise; the decoder is the identity, its distortion |x - z|^2 / 2 + c."""

import pytest
import torch
from planted_run import FakeRun, model_with
from torch import Tensor, nn

from builders import ae
from vaelab.errors import UserError
from vaelab.evaluation.gradient_variance import GradientVariance
from vaelab.evaluation.noise_gap import NoiseGap
from vaelab.evaluation.trained_run import NotApplicable
from vaelab.functional.randomness import generator
from vaelab.models.latent_codes import Codes

SCALE = torch.tensor([0.2, 0.5, 1.0, 1.5])


class ImageRun(FakeRun):
    """Posterior means ``loc`` with SCALE, and images that lie ``offset`` from them."""

    def __init__(self, number: int, offset: Tensor, model: nn.Module | None = None) -> None:
        loc = torch.randn(number, 4, generator=generator(0, "test codes")) * torch.tensor(
            [1.0, 2.0, 0.5, 0.0]
        )
        self.loc, self.x = loc, (loc + offset)[:, None, None]
        codes = Codes(loc, SCALE.expand_as(loc), loc)
        super().__init__(model or model_with(nn.Identity()), {"test": codes})

    def images(self, split: str, limit: int | None = None) -> Tensor:
        return self.x[:limit]


def test_noise_costs_half_its_variance():
    """E |x - mu - n|^2 / 2 - |x - mu|^2 / 2 = size^2 / 2 sum_d s_d^2, whatever the image."""
    run = ImageRun(2000, torch.tensor([0.3, -0.5, 0.0, 1.0]))
    spread = run.loc.var(0, correction=0) + SCALE**2  # of the aggregate posterior
    for size in (0.5, 1.0):
        found = NoiseGap(images=2000, size=size)(run)["metrics"]
        exact = size**2 / 2 * spread.sum().item()
        assert abs(found["noise_gap"] - exact) < 4 * found["noise_gap_se"]
        assert found["noise_gap_se"] < 0.03 * exact


def test_noise_costs_nothing_where_the_decoder_ignores_z():
    ignoring = nn.Linear(4, 4)
    nn.init.zeros_(ignoring.weight)
    found = NoiseGap()(ImageRun(50, torch.zeros(4), model_with(ignoring)))
    assert found["metrics"]["noise_gap"] == 0
    assert found["protocol"]["images"] == 50


def test_the_gradients_variance_is_exact_where_it_is_known():
    """For |z - x|^2 / 2, m = mu - x: Var = s^2 (mu) and m^2 s^2 + 2 s^4 (log sigma), over 8 draws."""
    offset = torch.tensor([0.3, -0.5, 0.0, 1.0])
    found = GradientVariance(images=20, repetitions=200)(ImageRun(30, offset))
    exact = (SCALE**2 + offset**2 * SCALE**2 + 2 * SCALE**4).sum().item() / 8
    metrics = found["metrics"]
    assert metrics["gradient_variance_reparametrised"] == pytest.approx(exact, rel=0.1)
    assert metrics["gradient_variance_ratio"] > metrics["gradient_variance_ratio_baseline"] > 2
    assert metrics["gradient_variance_ratio"] == pytest.approx(
        metrics["gradient_variance_score"] / metrics["gradient_variance_reparametrised"]
    )
    assert 0.6 < metrics["gradient_difference"] < 1.5
    assert found["protocol"]["images"] == 20


def test_a_deterministic_code_has_no_gradient_to_estimate():
    with pytest.raises(NotApplicable, match="diagonal Gaussian"):
        GradientVariance()(ImageRun(3, torch.zeros(4), ae(4)))


@pytest.mark.parametrize("setting", [{"images": 0}, {"samples": 1}, {"repetitions": 1}, {"samples": True}])
def test_gradients_refuse_too_few(setting):
    with pytest.raises(UserError, match=next(iter(setting))):
        GradientVariance(**setting)


@pytest.mark.parametrize("setting", [{"images": 1}, {"draws": 0}, {"size": 0.0}])
def test_noise_refuses_too_little(setting):
    with pytest.raises(UserError, match=next(iter(setting))):
        NoiseGap(**setting)
