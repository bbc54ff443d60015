"""The ex-post density of codes whose distribution is known."""

import sys
from types import ModuleType

import pytest
import torch
from planted_run import FakeRun, codes, model_with
from torch import nn

from builders import random
from vaelab.density import fit_density
from vaelab.evaluation.density import Density
from vaelab.posteriors import Codebook
from vaelab.priors import UniformCodes

MEAN = torch.tensor([1.0, -0.5])
TRIL = torch.tensor([[0.6, 0.0], [0.5, 0.4]])


def correlated(n: int, seed: int) -> torch.Tensor:
    return MEAN + torch.randn(n, 2, generator=random(seed)) @ TRIL.T


def run(n: int = 20_000) -> FakeRun:
    splits = {"train": codes(correlated(n, 1)), "test": codes(correlated(n, 2))}
    return FakeRun(model_with(nn.Identity(), 2), splits)


def test_the_gain_is_the_divergence_of_the_codes_from_the_prior():
    """Of codes from N(m, C): KL(N(m, C) || N(0, I)) = 1/2 (tr C + |m|^2 - 2 - log det C)."""
    found = Density(components=1, train_images=20_000, images=20_000)(run())
    metrics, protocol = found["metrics"], found["protocol"]
    covariance = TRIL @ TRIL.T
    expected = 0.5 * (covariance.trace() + MEAN.square().sum() - 2 - covariance.logdet()).item()
    error = metrics["expost_gain_standard_error"]
    assert 0 < error < 0.02
    assert abs(metrics["expost_gain"] - expected) < 4 * error
    entropy = torch.distributions.MultivariateNormal(MEAN, scale_tril=TRIL).entropy().item()
    assert metrics["expost_log_density"] == pytest.approx(-entropy, abs=0.03)
    assert metrics["expost_log_density_train"] == pytest.approx(-entropy, abs=0.03)
    difference = metrics["expost_log_density"] - metrics["prior_log_density"]
    assert metrics["expost_gain"] == pytest.approx(difference, rel=1e-6)
    assert (protocol["components"], protocol["train_images"], protocol["images"]) == (1, 20_000, 20_000)


def test_a_mixture_too_rich_for_its_codes_shows():
    metrics = Density(components=20, train_images=60, images=1000)(run())["metrics"]
    assert metrics["expost_log_density_train"] > metrics["expost_log_density"] + 0.3


def test_its_samples_are_decoded_samples_of_the_fit():
    fake = run(300)
    found = Density(components=2).samples(fake, 12, seed=4)
    expected = fit_density(fake.codes("train").z, 2).sample(12, seed=4)
    torch.testing.assert_close(found.flatten(1), expected)


def test_codes_of_a_codebook_have_no_density(monkeypatch):
    fake = run(50)
    fake.model.posterior, fake.model.prior = Codebook(2, codes=4, code_dim=1), UniformCodes()
    if "vaelab.evaluation.run" not in sys.modules:
        module = ModuleType("vaelab.evaluation.run")
        module.NotApplicable = type("NotApplicable", (Exception,), {})
        monkeypatch.setitem(sys.modules, "vaelab.evaluation.run", module)
    not_applicable = sys.modules["vaelab.evaluation.run"].NotApplicable
    with pytest.raises(not_applicable, match="no density"):
        Density()(fake)
