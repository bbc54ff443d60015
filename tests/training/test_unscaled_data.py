"""Data that are far from the scale of network and likelihood: named before, during and after training."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import vaelab
from cli_runner import small

TABLE = np.random.default_rng(0).normal(size=(300, 4)) * [1, 50, 1e4, 1e-3] + [0, 100, 0, 5]


def run(folder: Path, x: np.ndarray, *overrides: str):
    np.savez(folder / "x.npz", x=x)
    return small(
        folder, "data=npz", f"data.path={folder / 'x.npz'}", "data.train_size=200", "data.val_size=50",
        "likelihood=gaussian", "callbacks=none", "name=run", *overrides,
    )  # fmt: skip


def test_a_warning_names_range_and_key_before_the_training(tmp_path):
    result = run(tmp_path, 255 * np.random.default_rng(0).random((300, 4, 4)))
    text = result.out + result.err
    assert "The images lie in [0." in text
    assert "that of the likelihood is 0.1 (Gaussian)" in text
    assert "data.scale=standardize" in text


def test_a_likelihood_of_pixels_in_0_to_1_names_the_scaling(tmp_path):
    result = run(tmp_path, TABLE, "likelihood=bernoulli")
    assert result.code == 2
    assert result.err.rstrip().endswith("which fits any data, or data.scale=minmax.")


def test_images_that_do_not_differ_are_named(tmp_path):
    result = run(tmp_path, np.full((300, 4, 4), 0.5))
    assert result.code == 0
    assert "The training images are all the same" in result.out + result.err


def test_a_loss_that_is_not_finite_names_range_and_key(tmp_path):
    result = run(tmp_path, TABLE * 1e18)
    assert result.code == 2
    last = result.err.splitlines()[-1]
    assert "became" in last
    assert "Scale them: data.scale=standardize, or in the file." in last
    assert "optimizer.lr" not in last


@pytest.mark.parametrize("mode", ["standardize", "minmax"])
def test_a_loaded_run_takes_and_gives_the_units_of_the_data(tmp_path, mode):
    result = run(tmp_path, TABLE, f"data.scale={mode}")
    assert result.code == 0
    assert "The images lie" not in result.out + result.err
    folder = next(path.parent for path in tmp_path.rglob("results.json"))
    record = json.loads((folder / "results.json").read_text())
    assert record["data"]["scaling"]["mode"] == record["config"]["data"]["scale"] == mode
    loaded = vaelab.load(folder)
    x = TABLE[:5].astype(np.float32).reshape(5, 1, 1, 4)
    scaled = loaded.scaling.apply(torch.tensor(x))
    assert torch.equal(loaded.encode(x).loc, loaded.model.encode(scaled).loc)
    inside = loaded.model.reconstruct(scaled)
    shift, spread = (np.array(record["data"]["scaling"][name]) for name in ("shift", "spread"))
    assert np.allclose(loaded.reconstruct(x).numpy(), inside.numpy() * spread + shift, rtol=1e-4)
    assert np.allclose(loaded.sample(3).numpy(), loaded.model.sample(3).numpy() * spread + shift, rtol=1e-4)
    with pytest.raises(vaelab.UserError, match=f"once scaled .data.scale={mode}.; got values"):
        loaded.encode(x * 1e6)
