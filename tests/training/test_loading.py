"""Trained models back from disk."""

import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

import vaelab
from builders import trainer
from cli_runner import Result, trained
from vaelab.errors import UserError
from vaelab.runs.record import write_record
from vaelab.training.assembly import build_data, build_metrics, run_context
from vaelab.training.module import LitAutoencoder


def test_a_loaded_run_does_what_its_model_does(vae_run: Result):
    run = vaelab.load(vae_run.folder)
    x = torch.rand(5, 1, 8, 8)
    assert not run.model.training
    assert run.encode(x).loc.shape == run.encode(x).scale.shape == (5, 4)
    assert run.decode(torch.zeros(2, 3, 4)).shape == (2, 3, 1, 8, 8)
    assert run.sample(7).shape == (7, 1, 8, 8)
    assert run.reconstruct(x).shape == x.shape
    assert 0 <= run.sample(7).min() < run.sample(7).max() <= 1
    assert not run.reconstruct(x).requires_grad
    assert (run.folder, run.record, run.metrics) == (
        vae_run.folder,
        vae_run.record,
        vae_run.record["metrics"],
    )


@pytest.mark.parametrize("turn", [np.asarray, lambda x: x.tolist(), lambda x: x.double().numpy()])
def test_a_loaded_run_takes_anything_like_an_array(vae_run: Result, turn):
    run, x = vaelab.load(vae_run.folder), torch.rand(3, 1, 8, 8)
    z = run.encode(x).loc
    torch.testing.assert_close(run.encode(turn(x)).loc, z)
    torch.testing.assert_close(run.reconstruct(turn(x)), run.reconstruct(x))
    torch.testing.assert_close(run.decode(turn(z)), run.decode(z))
    grey = (255 * x).round()
    torch.testing.assert_close(run.encode(grey.numpy().astype("uint8")).loc, run.encode(grey / 255).loc)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.full((2, 1, 8, 8), 16),
            r"expected images \(N, 1, 8, 8\) in \[0, 1\]; got values up to 16\. Grey",
        ),
        (-np.ones((2, 1, 8, 8)), r"got values down to -1\.$"),
        (np.full((2, 1, 8, 8), np.nan), "got NaN"),
        (np.zeros((2, 8, 8)), r"got \(2, 8, 8\)\."),
        (np.zeros((2, 1, 9, 8)), r"got \(2, 1, 9, 8\)\."),
        ([[1, 2], [3]], "images are not an array of numbers"),
        ("an image", "images are not an array of numbers"),
    ],
)
def test_a_loaded_run_refuses_other_images(vae_run: Result, x, message):
    run = vaelab.load(vae_run.folder)
    for method in (run.encode, run.reconstruct):
        with pytest.raises(UserError, match=message):
            method(x)
    with pytest.raises(UserError, match=r"expected codes \(\.\.\., 4\); got \(2, 3\)\."):
        run.decode(np.zeros((2, 3)))


def test_a_run_is_loaded_by_its_folder_its_record_a_checkpoint_or_its_name(vae_run: Result, monkeypatch):
    folder = vae_run.folder
    best, last = (folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    expected = vaelab.load(folder).sample(2)
    for path in (str(folder), folder / "results.json", best):
        assert torch.equal(vaelab.load(path).sample(2), expected)
    by_path, by_name = vaelab.load(last), vaelab.load(folder, weights="checkpoints/last.ckpt")
    assert torch.equal(by_path.sample(2), by_name.sample(2))
    (vae_run.outputs / "outputs").symlink_to(vae_run.outputs)
    try:
        monkeypatch.chdir(vae_run.outputs)
        assert torch.equal(vaelab.load(folder.name).sample(2), expected)
        with pytest.raises(UserError, match=f"Did you mean '{folder.name}'"):
            vaelab.load(folder.name[:-1])
    finally:
        (vae_run.outputs / "outputs").unlink()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(vae_run: Result):
    with pytest.raises(UserError, match="device=cuda can't be used here"):
        vaelab.load(vae_run.folder, device="cuda")


def test_the_package_shows_its_functions():
    assert {"load", "train", "sweep", "Run", "UserError"} <= set(dir(vaelab))


def test_the_figures_are_those_that_the_run_drew(vae_run: Result):
    figures = vaelab.load(vae_run.folder).figures()
    assert {"samples/prior", "samples/reconstructions", "latents/map"} <= figures.keys()
    for name, figure in figures.items():
        with Image.open(vae_run.folder / f"{name}.png") as drawn:
            assert figure.tobytes() == drawn.tobytes()


def test_a_run_without_pictures_draws_them_from_its_model(tmp_path):
    run = vaelab.load(trained(tmp_path, "model=vae", "callbacks=none").folder)
    figures = run.figures()
    assert {"samples/prior", "samples/reconstructions", "samples/traversals"} <= figures.keys()
    assert figures["samples/prior"].size[0] > 8
    assert not list(run.folder.rglob("*.png"))


@pytest.mark.parametrize("model", ["vae", "ae"])
def test_the_loaded_weights_are_those_of_the_record(tmp_path, model):
    # The best of these epochs is not the last, so that the wrong weights would be seen.
    run = trained(
        tmp_path, f"model={model}", "data.train_size=8", "optimizer.lr=0.05", "trainer.max_epochs=8"
    )
    cfg = OmegaConf.create(run.record["config"])
    data = build_data(cfg)
    metrics = build_metrics(cfg, run_context(cfg, data))
    lit = LitAutoencoder(vaelab.load(str(run.folder)).model, lambda _: None, metrics)
    trainer(tmp_path).test(lit, datamodule=data, verbose=False)
    for name in ("distortion", "rate", "elbo", "mse"):
        expected, got = run.record["metrics"][f"test/{name}"], lit.results["test"][name].item()
        assert got == pytest.approx(math.nan if expected is None else expected, rel=1e-6, nan_ok=True)


def test_other_weights_of_the_run_can_be_asked_for(vae_run: Result):
    last = vaelab.load(vae_run.folder, weights="checkpoints/last.ckpt")
    saved = torch.load(vae_run.folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, saved[f"model.{name}"]) for name, value in last.model.state_dict().items())


@pytest.mark.parametrize("name", ["last", "best"])
def test_checkpoints_hold_plain_types_alone(vae_run: Result, name: str):
    checkpoint = torch.load(vae_run.folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
    assert checkpoint["vaelab"]["context"]["image_shape"] == [1, 8, 8]
    assert checkpoint["vaelab"]["config"] == vae_run.record["config"]


@pytest.fixture
def copy(vae_run: Result, tmp_path: Path) -> Path:
    """A run's folder that a test may spoil."""
    return shutil.copytree(vae_run.folder, tmp_path / "copy")


def test_a_folder_may_be_moved(vae_run: Result, copy: Path):
    assert torch.equal(vaelab.load(copy).sample(2), vaelab.load(vae_run.folder).sample(2))


def test_a_folder_that_is_not_a_run(tmp_path):
    with pytest.raises(UserError, match=r"no results\.json in .*: it is not the folder of a run"):
        vaelab.load(tmp_path)


def test_missing_weights(copy: Path):
    (copy / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(UserError, match=r"no weights .*best\.ckpt"):
        vaelab.load(copy)
    with pytest.raises(UserError, match=r"no weights .*other"):
        vaelab.load(copy, weights="other")


@pytest.mark.parametrize("content", [b"", b"hello", "half"])
def test_a_damaged_checkpoint(copy: Path, content: bytes | str):
    file = copy / "checkpoints" / "best.ckpt"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(UserError, match=r"best\.ckpt is not a readable checkpoint"):
        vaelab.load(copy)


@pytest.mark.parametrize(
    ("checkpoint", "text"),
    [
        ({"state_dict": {}}, r"best\.ckpt is not a readable checkpoint"),
        ({"state_dict": {}, "vaelab": {"config": {}, "known": {}}}, "was written by an older vaelab"),
    ],
)
def test_a_checkpoint_of_something_else(copy: Path, checkpoint: dict, text: str):
    torch.save(checkpoint, copy / "checkpoints" / "best.ckpt")
    with pytest.raises(UserError, match=text):
        vaelab.load(copy)


def test_a_damaged_record(copy: Path):
    (copy / "results.json").write_text("{")
    with pytest.raises(UserError, match=r"results\.json can't be read"):
        vaelab.load(copy)


def test_a_run_that_failed_has_no_weights(tmp_path):
    write_record(tmp_path, {"schema": 1, "status": "failed", "weights": None})
    with pytest.raises(UserError, match="its status is failed"):
        vaelab.load(tmp_path)


def test_importing_vaelab_and_its_command_is_light():
    heavy = {"torch", "pytorch_lightning", "wandb", "sklearn", "matplotlib", "numpy"}
    code = f"import sys, vaelab, vaelab.cli.train; print({heavy} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"


def test_an_attribute_that_does_not_exist():
    with pytest.raises(AttributeError, match="'vaelab' has no attribute 'lod'"):
        vaelab.lod  # noqa: B018


@pytest.mark.parametrize("pixels", [100, 50])  # from Pillow's limit a warning, from twice the limit an error
def test_a_picture_that_unpacks_to_too_much_is_refused(copy: Path, monkeypatch, pixels: int):
    Image.new("L", (10, 11)).save(copy / "samples" / "big.png")
    for picture in copy.glob("*/*.png"):
        if picture.stem != "big":
            picture.unlink()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    with pytest.raises(UserError, match=r"big\.png is not a readable picture"):
        vaelab.load(copy).figures()


def test_flipped_bytes_in_the_weights_are_noticed(copy: Path):
    """``torch.load`` reads such a file without a word."""
    file = copy / "checkpoints" / "best.ckpt"
    content = bytearray(file.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 40, 8):
        content[place] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"the checksum of .* is wrong"):
        vaelab.load(copy)
    with pytest.raises(UserError, match=r"the checksum of .* is wrong"):
        vaelab.load(copy, weights="checkpoints/best.ckpt")


def test_weights_of_another_run_are_noticed(copy: Path):
    shutil.copy(copy / "checkpoints" / "last.ckpt", copy / "checkpoints" / "best.ckpt")
    with pytest.raises(UserError, match="damaged or replaced"):
        vaelab.load(copy)
