"""The ex-post density of codes whose distribution is known."""

from types import SimpleNamespace

import pytest
import torch
from planted_run import FakeRun, codes, model_with
from torch import nn

from builders import random
from vaelab.evaluation.expost import ExPostGain, ExPostSampleQuality
from vaelab.evaluation.feature_networks import FeatureNetwork
from vaelab.evaluation.trained_run import NotApplicable
from vaelab.models.posteriors import Codebook
from vaelab.models.priors import UniformCodes

MEAN = torch.tensor([1.0, -0.5])
TRIL = torch.tensor([[0.6, 0.0], [0.5, 0.4]])


def correlated(n: int, seed: int) -> torch.Tensor:
    return MEAN + torch.randn(n, 2, generator=random(seed)) @ TRIL.T


def run(n: int = 20_000) -> FakeRun:
    splits = {"train": codes(correlated(n, 1)), "test": codes(correlated(n, 2))}
    return FakeRun(model_with(nn.Identity(), 2), splits)


def test_the_gain_is_the_divergence_of_the_codes_from_the_prior():
    """Of codes from N(m, C): KL(N(m, C) || N(0, I)) = 1/2 (tr C + |m|^2 - 2 - log det C)."""
    found = ExPostGain(components=1, train_images=20_000, images=20_000)(run())
    metrics, protocol = found["metrics"], found["protocol"]
    covariance = TRIL @ TRIL.T
    expected = 0.5 * (covariance.trace() + MEAN.square().sum() - 2 - covariance.logdet()).item()
    error = metrics["expost_gain_se"]
    assert 0 < error < 0.02
    assert abs(metrics["expost_gain"] - expected) < 4 * error
    entropy = torch.distributions.MultivariateNormal(MEAN, scale_tril=TRIL).entropy().item()
    assert metrics["expost_log_density"] == pytest.approx(-entropy, abs=0.03)
    assert metrics["expost_log_density_train"] == pytest.approx(-entropy, abs=0.03)
    difference = metrics["expost_log_density"] - metrics["prior_log_density"]
    assert metrics["expost_gain"] == pytest.approx(difference, rel=1e-6)
    assert (protocol["components"], protocol["train_images"], protocol["images"]) == (1, 20_000, 20_000)


def test_a_mixture_too_rich_for_its_codes_shows():
    metrics = ExPostGain(components=20, train_images=60, images=1000)(run())["metrics"]
    assert metrics["expost_log_density_train"] > metrics["expost_log_density"] + 0.3


def test_codes_of_a_codebook_have_no_density():
    fake = run(50)
    fake.model.posterior, fake.model.prior = Codebook(2, codes=4, code_dim=1), UniformCodes()
    with pytest.raises(NotApplicable, match="no density"):
        ExPostGain()(fake)


class Images(FakeRun):
    """What the decoder makes of the codes of each split, as its images."""

    def images(self, split: str, limit: int | None = None) -> torch.Tensor:
        return self.model.decode(self.codes(split, limit).z)

    data = SimpleNamespace(train=range(4000))


def test_samples_of_the_density_are_like_what_is_decoded_from_codes():
    """With pixels as features and a decoder that copies z: both sides are samples of one Gaussian."""
    splits = {"train": codes(correlated(4000, 1)), "test": codes(correlated(2000, 2))}
    pixels = FeatureNetwork("pixels", lambda x: x.flatten(1))
    found = ExPostSampleQuality(components=1, features=pixels)(Images(model_with(nn.Identity(), 2), splits))
    assert set(found["metrics"]) == {
        *(f"{name}_expost" for name in ("fid", "kid", "precision", "recall", "density", "coverage")),
        "kid_expost_se",
    }
    assert found["protocol"]["samples"] == 2000
    assert found["metrics"]["fid_expost"] < 0.01  # of prior samples it would be |m|^2 + ... > 1
    assert found["metrics"]["density_expost"] == pytest.approx(1, abs=0.08)
