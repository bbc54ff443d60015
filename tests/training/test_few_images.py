"""Runs with a single held-out image, or without a step: what they can't know is blank."""

import json
import sys

import numpy as np
import pytest

from cli_runner import small
from vaelab.cli import evaluate
from vaelab.runs.health import verdict
from vaelab.runs.record import read_record

ONE = ("data=npz", "data.test_size=1", "data.val_size=1", "trainer.max_epochs=8", "callbacks=none")


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "mine.npz", x=np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8))
    return f"data.path={tmp_path / 'mine.npz'}"


def test_one_image_is_measured_without_a_warning_or_a_verdict(tmp_path, file, monkeypatch):
    stop = ("+callbacks.collapse._target_=vaelab.training.Collapse", "+callbacks.collapse.stop=true")
    result = small(tmp_path / "outputs", *ONE, file, *stop, "data.train_size=null")
    assert result.code == 0, result.err
    assert "collapsed" not in result.out + result.err
    assert "cov()" not in result.out + result.err
    metrics = result.record["metrics"]
    assert result.record["verdict"] is None
    assert metrics["test/active_units"] is None
    assert np.isfinite(metrics["test/elbo"])
    monkeypatch.setattr(sys, "argv", ["vaelab-evaluate", str(result.folder), "eval.importance_nll.samples=8"])
    evaluate.main()
    entries = read_record(result.folder)["evaluation"]
    assert entries["sample_quality"]["skipped"] == "it needs at least 4 test images, the data have 1"
    json.dumps(entries, allow_nan=False)


def test_a_run_without_a_step_is_untrained(tmp_path):
    result = small(tmp_path, "model=vae", "trainer.max_epochs=0", "callbacks=no_pictures")
    record = result.record
    assert record["metrics"]["train/steps"] == 0
    assert record["verdict"]["label"] == "untrained"
    assert record["verdict"]["reason"] == "no optimizer step was taken"
    assert "collapsed" not in result.out + result.err
    assert verdict(record["metrics"]).label == "untrained"  # as a comparison reads it


def test_a_decoder_that_is_worse_than_a_constant_image_is_not_called_collapsed(tmp_path):
    """One step from large random weights: units are active, another image's code makes no difference."""
    result = small(tmp_path, "network.init=kaiming", "optimizer.lr=1e-4", "callbacks=no_pictures")
    metrics = result.record["metrics"]
    assert metrics["train/steps"] == 1
    assert metrics["test/active_units"] > 0
    assert metrics["test/shuffle_gap"] < 2 * metrics["test/shuffle_gap_se"]  # what a collapse would be
    assert metrics["test/distortion"] > metrics["test/constant_distortion"]
    assert result.record["verdict"]["label"] == "untrained"
    assert "that of the best constant image" in result.out
    assert "collapsed" not in result.out + result.err
