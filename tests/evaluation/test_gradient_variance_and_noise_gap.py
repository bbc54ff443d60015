"""Gradient variance and the cost of noise; the decoder is the identity, its distortion |x - z|^2 / 2 + c."""

import math

import numpy as np
import pytest
import torch
from planted_run import PlantedRun, model_with
from torch import Tensor, nn

from builders import ae, random
from support.chance import SIGMAS
from vaelab.evaluation import GradientVariance, NoiseGap, NotApplicable
from vaelab.evaluation.noise_gap import gap_share
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import Codes

SCALE = torch.tensor([0.2, 0.5, 1.0, 1.5])
MEANS = torch.tensor([1.0, 2.0, 0.5, 0.0])  # standard deviations of the means


def run(number: int, offset: Tensor, model: Autoencoder | None = None) -> PlantedRun:
    """Posterior means with deviations SCALE, a sample each, and images that lie ``offset`` from the means."""
    loc, noise = torch.randn(2, number, 4, generator=random()) * torch.stack([MEANS, SCALE])[:, None]
    planted = {"test": Codes(loc, SCALE.expand_as(loc), loc + noise)}
    return PlantedRun(model or model_with(nn.Identity()), planted, (loc + offset)[:, None, None])


@pytest.mark.parametrize("size", [0.5, 1.0])
def test_noise_costs_half_its_variance(size):
    """E |x - z - n|^2 / 2 - |x - z|^2 / 2 = size^2 / 2 sum_d s_d^2, whatever the image.

    Another image's code costs E |mu - mu'|^2 / 2 = sum_d Var(mu_d).
    """
    planted = run(2000, torch.tensor([0.3, -0.5, 0.0, 1.0]))
    spread = planted.codes("test").loc.var(0, correction=0) + SCALE**2  # of the aggregate posterior
    metrics = NoiseGap(images=2000, size=size)(planted)["metrics"]
    exact = size**2 / 2 * spread.sum().item()
    assert abs(metrics["noise_gap"] - exact) <= SIGMAS * metrics["noise_gap_se"]
    assert metrics["noise_gap_se"] < 0.03 * exact
    share = size**2 / 2 * (MEANS**2 + SCALE**2).sum() / (MEANS**2).sum()
    assert abs(metrics["noise_gap_share"] - share) <= SIGMAS * metrics["noise_gap_share_se"]
    assert metrics["noise_gap_share_se"] < 0.06 * share


def test_the_noise_is_added_to_samples_of_the_posterior():
    """Distortion |x - z|: from its minimum at the mean, where codes rarely are, noise costs more."""

    class Distance(Autoencoder):
        def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
            return -(x[:, 0, 0] - z).norm(dim=-1)

    planted = run(2000, torch.zeros(4))
    planted.model.__class__ = Distance
    x, generator = planted.planted_images[:, 0, 0], random(7)
    spread = (planted.codes("test").loc.var(0) + SCALE**2).sqrt()
    samples = SCALE * torch.randn(2000, 4, generator=generator)
    noise = 0.5 * spread * torch.randn(2000, 4, generator=generator)
    gaps = (samples + noise).norm(dim=-1) - samples.norm(dim=-1)
    metrics = NoiseGap(images=len(x))(planted)["metrics"]
    error = (gaps.var() / 2000 + metrics["noise_gap_se"] ** 2) ** 0.5
    assert abs(metrics["noise_gap"] - gaps.mean()) <= SIGMAS * error
    assert noise.norm(dim=-1).mean() - gaps.mean() > 2 * SIGMAS * error, "from the means"


def test_the_error_of_the_share_is_its_spread():
    shares, errors = [], []
    for seed in range(60):
        gaps, codes = torch.randn(2, 300, generator=random(seed))
        found = gap_share(gaps + codes + 3, (codes - codes.roll(-1)).square() + 2)
        shares.append(found["noise_gap_share"])
        errors.append(found["noise_gap_share_se"])
    # a standard deviation of 60 values has an error of 9%
    assert np.mean(errors) == pytest.approx(np.std(shares, ddof=1), rel=SIGMAS * 0.1)
    assert abs(np.mean(shares) - 3 / 4) < SIGMAS * np.std(shares) / 60**0.5 + 0.01  # a ratio's own bias


def test_noise_costs_nothing_where_the_decoder_ignores_z():
    ignoring = nn.Linear(4, 4)
    nn.init.zeros_(ignoring.weight)
    result = NoiseGap()(run(50, torch.zeros(4), model_with(ignoring)))
    assert result["metrics"]["noise_gap"] == 0
    assert math.isnan(result["metrics"]["noise_gap_share"])
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
    # the images have one exact variance, and their errors are independent
    assert abs(metrics["gradient_variance_reparametrised"] - exact) < (
        SIGMAS * metrics["gradient_variance_reparametrised_se"]
    )
    for ending in ("", "_baseline"):
        ratio = metrics[f"gradient_variance_ratio{ending}"]
        assert 0 < metrics[f"gradient_variance_ratio{ending}_se"] < 0.2 * ratio
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
