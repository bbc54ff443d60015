"""sigma_vae and the other likelihoods, from the command line to the record."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import vaelab
from builders import random
from cli_runner import Result, small, trained
from support.stopper import Stop
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.likelihoods import LearnedGaussian
from vaelab.training.assembly import build_data

LONG = ("data.train_size=null", "data.val_size=200", "network.hidden=[64]", "data.batch_size=32")


def errors(run: Result, model: Autoencoder) -> dict[str, float]:
    """The mean squared error per pixel of each split, z ~ q(z|x)."""
    data = build_data(OmegaConf.create(run.record["config"]))
    found = {}
    for split in ("train", "val"):
        images = getattr(data, split)
        x = images.x[torch.arange(len(images))].float()
        output = model(x, model.draw_noise(len(x), random(), samples=20))
        found[split] = (model.likelihood.mean(output.decoded) - x).square().mean().item()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("optimal", ["false", "true"])
def test_sigma_squared_ends_as_the_mean_squared_error_of_the_training_images(tmp_path, optimal):
    run = trained(
        tmp_path,
        *("model=sigma_vae", f"likelihood.optimal={optimal}", "trainer.max_epochs=25", "callbacks=none"),
        *LONG,
    )
    model = vaelab.load(run.folder, trust=["support."]).model
    assert isinstance(model.likelihood, LearnedGaussian)
    assert model.likelihood.optimal == (optimal == "true")
    found, variance = errors(run, model), model.likelihood.sigma().item() ** 2
    assert variance < 0.05  # it began at 1
    assert variance == pytest.approx(found["train"], rel=0.05)
    assert variance == pytest.approx(run.record["metrics"]["val/mse"], rel=0.25)  # what overfitting leaves
    # the record's distortion is that of the learned sigma, whatever training took
    mse, pixels = run.record["metrics"]["val/mse"], 64
    expected = pixels / 2 * (math.log(2 * math.pi * variance) + mse / variance)
    assert run.record["metrics"]["val/distortion"] == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize("optimal", ["false", "true"])
def test_the_learned_sigma_comes_back_and_goes_on(tmp_path, optimal):
    def go(name: str) -> Result:
        return small(
            tmp_path / name,
            *(
                "model=sigma_vae",
                f"likelihood.optimal={optimal}",
                "data.batch_size=16",
                "trainer.max_epochs=4",
            ),
            *("callbacks.samples=null", "+callbacks.stop._target_=support.stopper.Stop"),
            f"hydra.run.dir={tmp_path / name / 'runs' / 'run'}",
        )

    whole = go("whole")
    Stop.at("train_epoch_end", 2)
    assert go("stopped").code == 130
    half = LearnedGaussian()
    saved = torch.load(tmp_path / "stopped/runs/run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    half.load_state_dict({"sigma.raw": saved["model.likelihood.sigma.raw"]})
    again = go("stopped")
    assert (whole.code, again.code) == (0, 0), again.err
    sigmas = [
        vaelab.load(run.folder, "checkpoints/last.ckpt", trust=["support."]).model.likelihood.sigma().item()
        for run in (whole, again)
    ]
    assert sigmas[0] == sigmas[1]
    assert sigmas[0] == pytest.approx(again.record["metrics"]["train/likelihood_sigma"])
    # a step of Adam at 1e-3 is 1%: sixteen of them in all
    assert 1 > half.sigma() > sigmas[0] > 0.99**16


def test_with_another_likelihood_it_is_refused(tmp_path):
    result = small(tmp_path, "model=sigma_vae", "likelihood=bernoulli")
    assert result.code == 2
    assert "LearnedGaussian" in result.err
    assert "Leave out likelihood=" in result.err
    assert len(result.err.strip().splitlines()) <= 2


def test_a_folders_own_variant_over_sigma_vae_keeps_the_likelihood(tmp_path):
    folder = tmp_path / "my" / "model"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# mine: mine\ndefaults: [sigma_vae, _self_]\nbeta: 2.0\n")
    run = trained(tmp_path / "out", "--config-dir", str(folder.parent), "model=mine", "callbacks=none")
    assert run.record["beta"] == 2.0
    assert run.record["config"]["likelihood"]["_target_"].endswith("LearnedGaussian")


# bits per dimension


def bits(run: Result, split: str = "test") -> float | None:
    return run.record["metrics"][f"{split}/bits_per_dimension"]


def pictures(path: Path, dtype: type) -> str:
    """A file of 8x8 pictures of 256 grey levels, and the setting that reads it."""
    x = np.random.default_rng(0).integers(0, 256, (200, 8, 8))
    np.savez(path, x=x.astype(dtype) if dtype == np.uint8 else (x / 255).astype(dtype))
    return f"data.path={path}"


@pytest.mark.parametrize(("dtype", "per_pixel"), [(np.uint8, "false"), (np.float32, "true")])
def test_8_bit_images_have_bits_per_dimension(tmp_path, dtype, per_pixel):
    run = trained(
        tmp_path,
        *("data=npz", pictures(tmp_path / "x.npz", dtype), "likelihood=discretized_logistic"),
        *(f"likelihood.per_pixel={per_pixel}", "model=vae", "callbacks=none", "trainer.max_epochs=5"),
    )
    for split in ("val", "test"):
        elbo = run.record["metrics"][f"{split}/elbo"]
        assert bits(run, split) == pytest.approx(-elbo / (64 * math.log(2)), rel=1e-6)
    assert 8 < bits(run) < 11  # noise: no code does with less than 8


def test_digits_have_17_levels_not_256(tmp_path):
    result = small(tmp_path, "likelihood=discretized_logistic")
    assert result.code == 2
    assert "needs 8-bit images" in result.err
    assert "0, 1" in result.err


def test_binary_images_have_bits_and_grey_ones_or_a_model_without_a_rate_have_none(tmp_path):
    binary = trained(tmp_path / "binary", "model=vae", "callbacks=none", "data.binarize=static")
    elbo = binary.record["metrics"]["test/elbo"]
    assert bits(binary) == pytest.approx(-elbo / (64 * math.log(2)), rel=1e-6)
    assert bits(trained(tmp_path / "grey", "model=vae", "callbacks=none")) is None
    assert bits(trained(tmp_path / "ae", "model=ae", "data.binarize=static", "callbacks=none")) is None


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["continuous_bernoulli", "laplace", "predicted_gaussian"])
def test_the_others_train_and_are_densities(tmp_path, likelihood):
    quiet = [f"callbacks.{name}=null" for name in ("samples", "kl_pictures", "latent_map")]
    run = trained(tmp_path, "model=vae", f"likelihood={likelihood}", "trainer.max_epochs=20", *quiet)
    with (run.folder / "history.csv").open() as file:
        first, *_, last = [float(row["val/elbo"]) for row in csv.DictReader(file)]
    assert last > first
    assert bits(run) is None
