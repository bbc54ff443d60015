"""Mistakes: one or two clear lines, an exit code, and nothing trained."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cli_runner import SMALL, Result, run, small
from support.wandb_files import read_runs
from support.wandb_home import wandb_home
from vaelab.training.module import LitAutoencoder


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The default logger is left on, so that a run that starts is seen."""
    with wandb_home(tmp_path_factory.mktemp("home")):
        yield


def refused(outputs: Path, *arguments: str, **options: Path) -> Result:
    """The command, which has to be refused in a line or two before anything is trained."""
    result = run(outputs, *arguments, **options)
    assert result.code not in (0, 1)
    assert result.err.startswith("vaelab-train: ")
    assert 1 <= len(result.err.strip().splitlines()) <= 2, result.err
    assert "Traceback" not in result.err + result.out
    assert "epoch 1" not in result.out
    assert not list(outputs.rglob("*.ckpt"))
    assert not list(outputs.rglob("offline-run-*"))
    assert not list(outputs.glob("runs/*"))
    return result


# setting -> what the message names; test_checks.py tests the rules of single keys, and each room its own
SETTINGS = {
    "model.bta=2": ["model.bta", "'model.beta'"],
    "trainer.max_epoch=3": ["trainer.max_epoch", "'trainer.max_epochs'"],
    "optimizer.learning_rate=1": ["optimizer.learning_rate", "lr"],
    "+trainer.foo=1": ["trainer.foo"],
    "+network.hiddn=[3]": ["network.hiddn", "'hidden'"],
    "+model.objective.kl.wieght=2": ["model.objective.kl.wieght", "'weight'"],
    "~model.bta": ["model.bta", "'model.beta'"],
    "model=betavae": ["model=betavae", "'beta_vae'"],
    "optimizer=sgd": ["optimizer=sgd", "adam, adamw"],
    "model.beta=-1": ["model.beta=-1: must be a number >= 0"],
    "model.beta=": ["model.beta", "a number >= 0"],
    "trainer.max_epochs=3.5": ["trainer.max_epochs=3.5", "a whole number"],
    "logger.mode=ofline": ["logger.mode=ofline", "offline"],
    "data.val_size=5000": ["data.val_size=5000", "At most 1436"],
    "data.binarize=treshold": ["data.binarize", "treshold", "threshold"],
    "network.hidden=400": ["network.hidden", "400"],
    "network.hidden=[0]": ["network.hidden", "[0]"],
    "network.activation=rellu": ["network.activation", "rellu", "relu"],
    "trainer.accelerator=gpux": ["trainer", "gpux"],
    "trainer.limit_train_batches=-1": ["trainer", "limit_train_batches"],
    "model.beta": ["model.beta"],
    "name=a(b": ["name=a(b", "key=value"],
    "model.beta=1,2": ["model.beta=1,2", "-m"],
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_mistake_in_a_setting(tmp_path, setting):
    result = refused(tmp_path, setting)
    for words in SETTINGS[setting]:
        assert words in result.err, result.err


def test_a_key_that_this_variant_does_not_have(tmp_path):
    result = refused(tmp_path, "model=ae", "model.beta=2")
    assert "'model.beta'" in result.err
    assert "latent_dim" in result.err  # what there is


def test_too_many_convolutions_for_the_image(tmp_path):
    result = refused(tmp_path, "network=conv", "network.hidden=[8,8,8,8,8]")
    assert "network.hidden" in result.err
    assert "8x8" in result.err


def test_a_sigma_of_zero(tmp_path):
    assert "likelihood.sigma must be" in refused(tmp_path, "likelihood=gaussian", "likelihood.sigma=0").err


def test_kl_of_a_deterministic_posterior(tmp_path):
    result = refused(tmp_path, "model=ae", "+model.objective.kl._target_=vaelab.models.KL")
    assert "model.objective.kl=null" in result.err


# files


def npz(**arrays: object) -> object:
    """A maker of an .npz file with these arrays."""

    def make(file: Path) -> None:
        np.savez(file, **arrays)

    return make


def with_nan(file: Path) -> None:
    x = np.zeros((200, 8, 8))
    x[3, 4, 5] = np.nan
    np.savez(file, x=x)


FILES = {
    "missing": (lambda file: None, "does not exist"),
    "text": (lambda file: file.write_text("hello"), "not an .npz"),
    "nan": (with_nan, "NaN"),
    "few": (npz(x=np.zeros((20, 8, 8))), "data.val_size=100"),
    "range": (npz(x=np.full((200, 8, 8), 2.0)), "gaussian"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_will_not_do(tmp_path, kind):
    make, words = FILES[kind]
    file = tmp_path / "images.npz"
    make(file)
    result = refused(tmp_path / "outputs", "data=npz", f"data.path={file}")
    assert words in result.err, result.err
    if kind not in ("few", "range"):
        assert str(file) in result.err


def test_no_file_at_all(tmp_path):
    assert "data.path" in refused(tmp_path, "data=npz").err


def test_outputs_that_can_not_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    result = run(tmp_path / "here", "hydra.run.dir=" + str(tmp_path / "file" / "run"))
    assert result.code != 0
    assert "Traceback" not in result.err
    assert str(tmp_path / "file") in result.err


# a user's own configs


def test_a_missing_config_dir(tmp_path):
    result = refused(tmp_path, "--config-dir", "nowhere", "model=mine")
    assert "nowhere" in result.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("defaults: [vea, _self_]\n", "vea"),
        ("latent_dim: [3\n", "mine.yaml"),
        ("defaults: [vae, _self_]\nlatent_dim: ${nowhere}\n", "nowhere"),
        ("defaults: [vae, _self_]\nposterior: {_target_: vaelab.models.Diagonal}\n", "Diagonal"),
        ("defaults: [vae, _self_]\nobjective: {mine: {_target_: no_such_module.Term}}\n", "no_such_module"),
        ("defaults: [vae, _self_]\nextra: ???\n", "model.extra"),
    ],
)
def test_a_mistake_in_a_users_own_variant(tmp_path, text, words):
    (tmp_path / "my" / "model").mkdir(parents=True)
    (tmp_path / "my" / "model" / "mine.yaml").write_text(text)
    result = refused(tmp_path / "outputs", "--config-dir=my", "model=mine", cwd=tmp_path)
    assert words in result.err, result.err


# what is only known later


def test_a_loss_that_becomes_nan(tmp_path):
    settings = [setting for setting in SMALL if setting != "logger=none"]
    result = run(
        tmp_path, *settings, "optimizer.lr=1e6", "trainer.max_epochs=4", "trainer.log_every_n_steps=1"
    )
    assert result.code == 2
    assert result.err.startswith("vaelab-train: ")
    assert len(result.err.strip().splitlines()) <= 2
    assert "Traceback" not in result.err + result.out
    assert "optimizer.lr" in result.err
    record = result.record
    assert record["status"] == "failed"
    assert "nan" in record["error"] or "inf" in record["error"]
    assert record["weights"] is None


def test_a_bug_gives_three_lines_a_log_file_and_a_failed_record(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("wires crossed")

    monkeypatch.setattr(LitAutoencoder, "training_step", broken)
    result = small(tmp_path)
    assert result.code == 1
    assert "Traceback" not in result.out + result.err
    assert "RuntimeError: wires crossed\nThis error was not foreseen. Its traceback is in" in result.out
    assert "Traceback" in (result.folder / "run.log").read_text()
    assert result.record["status"] == "failed"
    assert result.record["error"] == "RuntimeError: wires crossed"
    assert "wires crossed" in (result.folder / "run.log").read_text()
    assert read_runs(tmp_path / "wandb") == []
