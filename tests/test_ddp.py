"""Two processes through the command line: Lightning starts the second one from the same arguments."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import vaelab

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "train.py"


@pytest.mark.slow
def test_two_processes_train_one_model_and_write_one_record(tmp_path):
    settings = [
        "model=vae",
        "network.hidden=[16]",
        "data.train_size=101",
        "data.val_size=33",
        "logger=none",
        "trainer.max_epochs=2",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "trainer.strategy=ddp",
    ]
    command = [sys.executable, str(SCRIPT), *settings, f"paths.outputs={tmp_path}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stderr
    assert "sync_dist" not in result.stderr
    assert result.stdout.count("ELBO  active units") == 1
    [file] = tmp_path.glob("runs/*/results.json")
    record = json.loads(file.read_text())
    assert record["status"] == "finished"
    metrics = record["metrics"]
    assert metrics["test/elbo"] == pytest.approx(-(metrics["test/rate"] + metrics["test/distortion"]))

    # the rate needs no noise: one process over the whole test split must find the same
    from vaelab.assembly import build_data
    from vaelab.data.images import to_float

    model = vaelab.load(file.parent)
    test = build_data(_config(record)).test
    kl = model.posterior.kl(model.encode(to_float(test.x)), model.prior)
    assert metrics["test/kl_per_dim"] == pytest.approx(kl.mean(0).tolist(), rel=1e-4)


def _config(record):
    from omegaconf import OmegaConf

    return OmegaConf.create(record["config"])
