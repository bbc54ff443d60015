"""Two processes through the command line: Lightning starts the second one from the same arguments."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import vaelab
from builders import trainer
from vaelab.training.assembly import build_data, build_metrics, run_context
from vaelab.training.module import LitAutoencoder

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train.py"


def in_two_processes(tmp_path, *settings):
    """The command, its record and its record's file."""
    common = [
        "network.hidden=[16]",
        "data.train_size=101",
        "data.val_size=33",
        "logger=none",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "trainer.strategy=ddp",
    ]
    command = [sys.executable, str(SCRIPT), *common, *settings, f"paths.outputs={tmp_path}"]
    tests = str(Path(__file__).parents[1])  # for tests/support
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *filter(None, [os.getenv("PYTHONPATH")])])}
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environ)
    assert result.returncode == 0, result.stderr
    [file] = tmp_path.glob("runs/*/results.json")
    return result, json.loads(file.read_text()), file


@pytest.mark.slow
def test_two_processes_train_one_model_and_write_one_record(tmp_path):
    result, record, file = in_two_processes(tmp_path, "model=vae", "trainer.max_epochs=2")
    assert "sync_dist" not in result.stderr
    assert result.stdout.count("ELBO  active units") == 1
    assert record["status"] == "finished"
    metrics = record["metrics"]

    # the rate needs no noise: one process over the whole test split must find the same
    from vaelab.functional.images import to_float

    model = vaelab.load(file.parent).model
    test = build_data(_config(record)).test
    kl = model.kl_per_dimension(model.encode(to_float(test.x)))
    assert metrics["test/kl_per_dim"] == pytest.approx(kl.mean(0).tolist(), rel=1e-4)

    # the draws of z and their number are functions of the images alone
    cfg = _config(record)
    data = build_data(cfg)
    lit = LitAutoencoder(model, lambda _: None, build_metrics(cfg, run_context(cfg, data)))
    trainer(tmp_path).test(lit, datamodule=data, verbose=False)
    for name in ("elbo", "elbo_se", "rate_se", "distortion_se", "elbo_draws", "elbo_mc_se", "objective_se"):
        assert metrics[f"test/{name}"] == pytest.approx(lit.results["test"][name].item(), rel=1e-4), name
    images, rates = np.load(file.parent / record["per_image"]), lit.image_rates["test"]
    assert images["position"].tolist() == list(range(len(test)))
    np.testing.assert_allclose(images["distortion"], rates.distortion, rtol=1e-4)
    np.testing.assert_allclose(images["rate"], rates.rate, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_moving_averages_are_of_all_processes_images(tmp_path):
    settings = ("model=vq_vae_ema", "prior=fitted_codes", "callbacks=none", "trainer.max_epochs=3")
    _, _, file = in_two_processes(tmp_path, *settings)
    checkpoint = torch.load(file.parent / "checkpoints/last.ckpt", weights_only=True)
    steps, state = checkpoint["global_step"], checkpoint["state_dict"]
    assert steps == 3  # of 50 images in each process, each image 8 codes
    faded = 0.99**steps
    counts = state["model.posterior.counts"].sum().item()
    assert counts == pytest.approx(faded * 64 + (1 - faded) * 2 * 50 * 8, rel=1e-5)


@pytest.mark.slow
def test_a_process_that_is_late_measures_the_same_checkpoint(tmp_path):
    late = "+callbacks.late={_target_: support.late.Late}"
    _, record, file = in_two_processes(tmp_path, "model=vae", "callbacks=none", late, "trainer.max_epochs=1")
    assert record["status"] == "finished"
    assert (file.parent / record["weights"]).is_file()


def _config(record):
    from omegaconf import OmegaConf

    return OmegaConf.create(record["config"])
