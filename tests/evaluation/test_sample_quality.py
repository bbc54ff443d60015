"""Sample quality of runs whose answers are known."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from planted_run import linear_vae, run_of
from torch import Tensor

from builders import ae, random, vae
from cli_runner import Result
from support.chance import SIGMAS
from vaelab.data.images import ImageSet
from vaelab.evaluation import SampleQuality, TrainedRun
from vaelab.evaluation import feature_networks as features
from vaelab.evaluation.feature_networks import FeatureNetwork
from vaelab.evaluation.sample_quality import decoded, difference, prior_images, quality_of

PIXELS = FeatureNetwork("pixels", lambda x: x.flatten(1))
SPREAD = torch.tensor([1.0, 0.5, 2.0])  # standard deviations of the pixels
N = 4000


def gaussian_images(number: int, seed: int) -> ImageSet:
    return ImageSet(SPREAD * torch.randn(number, 1, 1, 3, generator=random(seed)))


def measured(tmp_path: Path, share: Tensor, spread_of_z: Tensor, weight: Tensor) -> dict[str, float]:
    """Of a model whose codes z ~ q(z) are N(0, spread_of_z^2), ``share`` of that variance their means'."""
    gain = share.sqrt() * spread_of_z / SPREAD
    model = linear_vae(gain, (1 - share).sqrt() * spread_of_z, weight)
    run = run_of(tmp_path, gaussian_images(N, 0), gaussian_images(N, 1), model)
    return SampleQuality(features=PIXELS)(run)["metrics"]


def test_the_distances_of_a_linear_model_have_closed_forms(tmp_path):
    share, weight = torch.tensor([0.9, 0.5, 0.2]), torch.tensor([2.0, 0.4, 1.0])
    z = torch.tensor([0.5, 2.0, 1.0])
    found = measured(tmp_path, share, z, weight)

    def closed(spread: Tensor) -> float:
        return float((spread - SPREAD).square().sum())

    prior, posterior = closed(weight), closed(weight * z)
    assert found["fid_prior"] == pytest.approx(prior, rel=0.12)
    assert found["fid_posterior"] == pytest.approx(posterior, rel=0.12)
    assert found["fid_reconstructions"] == pytest.approx(closed(weight * z * share.sqrt()), rel=0.12)
    assert found["fid_difference"] == pytest.approx(
        prior - posterior, abs=SIGMAS * found["fid_difference_se"]
    )
    assert found["fid_data"] < 0.02


def test_without_holes_there_is_no_difference(tmp_path):
    share = torch.tensor([0.9, 0.5, 0.2])
    found = measured(tmp_path, share, torch.ones(3), SPREAD)  # q(z) = p(z), and the model is the data
    floor = 0.02
    assert found["fid_prior"] < floor
    assert abs(found["fid_difference"]) < floor
    assert found["fid_reconstructions"] > 20 * floor  # though the posterior means do spread less
    assert abs(found["kid_prior"]) <= SIGMAS * found["kid_prior_se"]
    assert found["density"] == pytest.approx(1, abs=0.05)
    assert found["coverage"] == pytest.approx(0.969, abs=0.01)
    assert min(found["precision"], found["recall"]) > 0.95


@pytest.mark.parametrize("number", [100, 360])
def test_a_perfect_model_has_no_difference_and_a_wrong_one_has(number):
    """z ~ q(z|x) of half the variance in x. Samples of the reference's own images gave a difference > 0."""
    perfect, own, errors, wrong = [], [], [], []
    for seed in range(40):
        x, noise, prior = SPREAD.repeat(4) * torch.randn(3, number, 12, generator=random(seed))
        posterior = (x + noise) / 2**0.5
        found = difference(prior, posterior, x)
        perfect.append(found.value)
        errors.append(found.error)
        own.append(quality_of(prior, x)["fid"] - quality_of(posterior, x)["fid"])
        wrong.append(difference(2 * prior, posterior, x))
    spread = np.std(perfect, ddof=1)
    assert abs(np.mean(perfect)) < SIGMAS * spread / 40**0.5
    assert np.mean(own) > 2 * SIGMAS * np.std(own, ddof=1) / 40**0.5
    # of the ratio of 40 standard deviations the error is 11%; a jackknife is too large here, by up to 2**0.5
    assert 0.6 * spread < np.mean(errors) < 2 * spread
    assert min(part.value / part.error for part in wrong) > SIGMAS


def test_the_error_of_a_difference_is_its_spread_where_the_model_is_wrong():
    values, errors = [], []
    for seed in range(60):
        x, noise, prior = torch.randn(3, 200, 4, generator=random(seed))
        found = difference(prior + 1, (x + noise) / 2**0.5, x)
        values.append(found.value)
        errors.append(found.error)
    # a standard deviation of 60 values has an error of 9%, the jackknife's with 10 groups one of 3%
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=SIGMAS * 0.095)
    assert abs(np.mean(values) - 4) < SIGMAS * np.std(values, ddof=1) / 60**0.5


def test_the_prior_of_a_deterministic_model_has_a_number(tmp_path):
    images = ImageSet(torch.rand(40, 1, 4, 4, generator=random()))
    found = SampleQuality(features=PIXELS)(run_of(tmp_path, images, images, ae()))["metrics"]
    assert all(math.isfinite(value) for name, value in found.items() if name != "kid_prior_se")
    assert math.isnan(found["kid_prior_se"])  # one subset


def test_other_real_images_are_of_validation_first(tmp_path):
    train, test = gaussian_images(60, 0), gaussian_images(30, 1)
    model = linear_vae(torch.ones(3), torch.ones(3), torch.ones(3))
    quality = SampleQuality(features=PIXELS)
    for val_size, words in (
        (30, "30 random validation"),
        (20, "30 random training"),
        (40, "30 random validation"),
    ):
        run = run_of(tmp_path, train, test, model, val_size=val_size)
        result = quality(run)
        assert words in result["protocol"]["fid_data"]
        split = "val" if "validation" in words else "train"
        expected = quality_of(PIXELS(run.images(split, 30)), PIXELS(test.x))["fid"]
        assert result["metrics"]["fid_data"] == pytest.approx(expected)
    few = quality(run_of(tmp_path, gaussian_images(29, 0), test, model))
    assert math.isnan(few["metrics"]["fid_data"])
    assert "undefined" in few["protocol"]["fid_data"]


def test_as_many_samples_as_images():
    with pytest.raises(ValueError, match="one shape"):
        quality_of(torch.rand(5, 3), torch.rand(6, 3))
    with pytest.raises(ValueError, match="images must be >= 4, got 1"):
        SampleQuality(images=1)
    with pytest.raises(ValueError, match="draws must be >= 1, got 0"):
        SampleQuality(draws=0)


def test_samples_of_one_mode_are_precise_and_recall_half():
    reference = torch.rand(200, 3, generator=random())
    samples = torch.rand(200, 3, generator=random(1))
    reference[100:] += 10
    found = quality_of(samples, reference)
    assert found["precision"] > 0.7
    assert found["recall"] == pytest.approx(0.5, abs=0.06)
    assert found["coverage"] == pytest.approx(0.5, abs=0.06)


def test_features_that_are_not_finite_leave_all_undefined():
    x = torch.rand(8, 3, generator=random())
    assert sum(map(math.isfinite, quality_of(x, x).values())) == 6  # one subset has no standard error
    assert all(map(math.isnan, quality_of(x / 0, x).values()))


def test_prior_images_are_reproducible_and_no_part_repeats(monkeypatch):
    monkeypatch.setattr("vaelab.evaluation.sample_quality.CHUNK", 4)
    model = vae().eval()
    images = torch.cat(list(prior_images(model, 10)))
    assert len(images) == len(images.flatten(1).unique(dim=0)) == 10
    assert torch.equal(images, torch.cat(list(prior_images(model, 10))))
    assert not torch.equal(images, torch.cat(list(prior_images(model, 10, draw=1))))


def test_the_error_is_that_of_the_mean_over_draws(tmp_path):
    model = linear_vae(torch.ones(3), torch.ones(3), torch.ones(3))
    images, number = gaussian_images(60, 0), 60
    run = run_of(tmp_path, images, images, model)
    draws = [
        quality_of(PIXELS(torch.cat(list(prior_images(model, number, draw=draw)))), PIXELS(images.x))["fid"]
        for draw in range(4)
    ]
    found = SampleQuality(features=PIXELS, draws=4)(run)["metrics"]
    assert found["fid_prior"] == pytest.approx(np.mean(draws))
    assert found["fid_prior_se"] == pytest.approx(np.std(draws, ddof=1) / 2)
    once = SampleQuality(features=PIXELS, draws=1)(run)["metrics"]
    assert once["fid_prior"] == pytest.approx(draws[0])
    assert math.isnan(once["fid_prior_se"])


def test_labels_go_with_their_codes(monkeypatch):
    monkeypatch.setattr("vaelab.evaluation.sample_quality.CHUNK", 2)
    model = SimpleNamespace(decode=lambda z, y: z if y is None else z + y[:, None])
    z, y = torch.zeros(5, 1), torch.arange(5)
    assert torch.cat(list(decoded(model, z, y, torch.device("cpu")))).flatten().tolist() == [0, 1, 2, 3, 4]
    assert torch.cat(list(decoded(model, z, None, torch.device("cpu")))).sum() == 0


def test_a_run_from_disk(vae_run: Result, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "STEPS", 30)
    run = TrainedRun(vae_run.folder, vae_run.record, tmp_path, quiet=True)
    result = SampleQuality(images=60)(run)
    assert result["metrics"]["fid_data"] < result["metrics"]["fid_prior"]  # two epochs teach little
    assert result["protocol"]["features"].startswith("classifier-digits-")
    assert "60 random training" in result["protocol"]["fid_data"]  # the run has 32 validation images
    assert SampleQuality(images=60)(run)["metrics"] == pytest.approx(result["metrics"], nan_ok=True)
