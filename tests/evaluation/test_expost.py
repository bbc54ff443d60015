"""The Gaussian mixture of codes whose distribution is known."""

from types import SimpleNamespace

import pytest
import torch
from planted_run import PlantedRun, codes, model_with
from torch import nn

from builders import random
from support.chance import SIGMAS
from vaelab.evaluation import ExPostGain, ExPostSampleQuality, NotApplicable
from vaelab.evaluation.feature_networks import FeatureNetwork
from vaelab.models.codebooks import Codebook
from vaelab.models.priors import UniformCodes

MEAN = torch.tensor([1.0, -0.5])
TRIL = torch.tensor([[0.6, 0.0], [0.5, 0.4]])


def correlated(n: int, seed: int) -> torch.Tensor:
    return MEAN + torch.randn(n, 2, generator=random(seed)) @ TRIL.T


def run(train: int = 20_000, test: int = 20_000) -> PlantedRun:
    """A run whose decoder copies z."""
    test_codes = codes(correlated(test, 2))
    splits = {"train": codes(correlated(train, 1)), "test": test_codes}
    model = model_with(nn.Identity(), 2)
    return PlantedRun(model, splits, model.decode(test_codes.z), SimpleNamespace(train=range(train)))


def test_the_gain_is_the_divergence_of_the_codes_from_the_prior():
    """Of codes from N(m, C): KL(N(m, C) || N(0, I)) = 1/2 (tr C + |m|^2 - 2 - log det C)."""
    result = ExPostGain(components=1, train_images=20_000, images=20_000)(run())
    metrics = result["metrics"]
    covariance = TRIL @ TRIL.T
    expected = 0.5 * (covariance.trace() + MEAN.square().sum() - 2 - covariance.logdet()).item()
    error = metrics["expost_gain_se"]
    assert 0 < error < 0.02
    assert abs(metrics["expost_gain"] - expected) <= SIGMAS * error
    entropy = torch.distributions.MultivariateNormal(MEAN, scale_tril=TRIL).entropy().item()
    assert metrics["expost_log_density"] == pytest.approx(-entropy, abs=0.03)
    assert metrics["expost_log_density_train"] == pytest.approx(-entropy, abs=0.03)
    assert result["protocol"]["components"] == 1


def test_a_mixture_with_too_many_components_shows():
    metrics = ExPostGain(components=20, train_images=60, images=1000)(run())["metrics"]
    assert metrics["expost_log_density_train"] > metrics["expost_log_density"] + 0.3


def test_codes_of_a_codebook_have_no_density():
    planted = run(50, 50)
    planted.model.posterior, planted.model.prior = Codebook(2, codes=4, code_dim=1), UniformCodes()
    with pytest.raises(NotApplicable, match="no density"):
        ExPostGain()(planted)


def test_samples_of_the_density_are_like_what_is_decoded_from_codes():
    """With pixels as features and a decoder that copies z, both sides are samples of one Gaussian."""
    pixels = FeatureNetwork("pixels", lambda x: x.flatten(1))
    result = ExPostSampleQuality(components=1, features=pixels)(run(4000, 2000))
    assert set(result["metrics"]) == {
        *(f"{name}_expost" for name in ("fid", "kid", "precision", "recall", "density", "coverage")),
        "kid_expost_se",
    }
    assert result["protocol"]["samples"] == 2000
    assert result["metrics"]["fid_expost"] < 0.01  # of prior samples it would be |m|^2 + ... > 1
    assert result["metrics"]["density_expost"] == pytest.approx(1, abs=0.08)
