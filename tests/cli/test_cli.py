"""Single runs through the command line: what a user gets for a command."""

import csv
import os
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli_runner import Result, read_record, run, small, trained
from vaelab.reports.sheets import content_of

QUICK = "callbacks=none"  # where the pictures don't matter


def weights(result: Result, name: str = "last") -> dict[str, torch.Tensor]:
    file = result.folder / "checkpoints" / f"{name}.ckpt"
    return torch.load(file, weights_only=True)["state_dict"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def logged(result: Result, name: str) -> list[float]:
    """A column of metrics.csv, where it has numbers."""
    with (result.folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [float(row[name]) for row in rows if row[name]]


# what a run leaves


def test_a_run_ends_well_and_its_folder_holds_everything(vae_run):
    assert (vae_run.code, vae_run.err) == (0, "")
    assert all(text in vae_run.out for text in (f"runs/{vae_run.folder.name}/", "rate", "distortion", "ELBO"))
    files = (".hydra/config.yaml", ".hydra/overrides.yaml", ".hydra/hydra.yaml", "run.log", "results.json")
    for name in (*files, "checkpoints/best.ckpt", "checkpoints/last.ckpt", "history.csv"):
        assert (vae_run.folder / name).is_file(), name
    assert "vae-digits" in vae_run.folder.name


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [
        ("prior", 8, 8),
        ("reconstructions", 8, 8),
        ("traversals", 4, 9),
        ("interpolations", 6, 9),
        ("interpolations_spherical", 6, 9),
    ],
)
def test_sample_grids_are_pictures_of_their_size(vae_run, name, rows, columns):
    with Image.open(vae_run.folder / "samples" / f"{name}.png") as picture:
        assert picture.width >= 800
        grid = content_of(picture)
        assert grid.size == (columns * 50 + 2, rows * 50 + 2)  # 8x8 pixels, six times magnified, and gaps
        pixels = np.asarray(grid)
    assert len(np.unique(pixels[pixels != 128])) > 20


@pytest.mark.parametrize("name", ["kl_per_dim", "kl_over_training"])
def test_kl_pictures_are_drawn(vae_run, name):
    with Image.open(vae_run.folder / "latents" / f"{name}.png") as picture:
        assert min(picture.size) >= 200
        assert np.asarray(picture).std() > 5


def test_the_record_has_every_field(vae_run):
    record = vae_run.record
    assert record["schema"] == 1
    assert (record["status"], record["error"]) == ("finished", None)
    assert (record["name"], record["group"]) == ("vae-digits", None)
    assert (record["variant"], record["dataset"], record["seed"]) == ("vae", "digits", 3)
    assert (record["beta"], record["latent_dim"], record["swept"]) == (1.0, 4, {})
    assert record["config"]["model"]["objective"]["kl"]["weight"] == 1.0  # resolved
    assert {"vaelab", "torch", "pytorch-lightning", "wandb"} <= set(record["versions"])
    assert all(record["versions"].values())
    assert record["git"] is None  # it ran outside of any repository
    assert record["wandb"] is None  # logger=none
    assert record["timing"]["fit_seconds"] > 0
    assert record["timing"]["images_per_second"] > 0
    assert len(record["data"].pop("sha256")) == 64
    assert record["data"] == {
        "image_shape": [1, 8, 8],
        "value_range": [0.0, 1.0],
        "class_names": None,
        "scaling": None,
        "train": 64,
        "val": 32,
        "test": 360,
    }
    assert record["parameters"] == sum(
        tensor.numel() for name, tensor in weights(vae_run).items() if "er." in name
    )
    assert record["weights"] == "checkpoints/best.ckpt"


# variants, splits, loggers, callbacks


def test_an_autoencoder_has_no_rate_and_no_elbo(tmp_path):
    result = trained(tmp_path, "model=ae")
    got = result.record["metrics"]
    for name in ("rate", "elbo"):
        assert got[f"test/{name}"] is None
        assert got[f"val/{name}"] is None
    assert got["test/kl_per_dim"] == [None] * 10
    assert got["test/distortion"] > 0
    assert result.record["beta"] is None
    assert "nan" not in result.out
    assert [file.name for file in (result.folder / "latents").iterdir()] == ["map.png"]  # no KL, no picture
    assert (result.folder / "samples" / "traversals.png").is_file()


@pytest.mark.parametrize(
    ("model", "metric", "best", "lr"), [("ae", "distortion", min, 0.1), ("vae", "elbo", max, 0.05)]
)
def test_the_best_checkpoint_is_chosen_by(tmp_path, model, metric, best, lr):
    result = trained(
        tmp_path,
        *(f"model={model}", "logger=csv", "callbacks.samples=null"),
        *(
            "data.train_size=8",
            f"optimizer.lr={lr}",
            "trainer.max_epochs=8",
        ),  # it overfits: the last is not best
    )
    history = logged(result, f"val/{metric}")
    assert len(history) == 8
    assert history.index(best(history)) != 7
    checkpoint = torch.load(result.folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert checkpoint["epoch"] == history.index(best(history))
    assert result.record["weights"] == "checkpoints/best.ckpt"
    assert result.record["metrics"][f"val/{metric}"] == pytest.approx(best(history), rel=1e-5)


def test_without_validation_images_the_last_weights_are_tested(tmp_path):
    result = trained(tmp_path, "data.val_size=0")
    assert [file.name for file in (result.folder / "checkpoints").iterdir()] == ["last.ckpt"]
    assert result.record["weights"] == "checkpoints/last.ckpt"
    assert result.record["data"]["val"] == 0
    assert result.record["metrics"]["test/elbo"] < 0
    assert not [name for name in result.record["metrics"] if name.startswith("val/")]
    assert (result.folder / "samples" / "reconstructions.png").is_file()


def test_csv_logger_writes_the_history_and_the_names_are_the_users(tmp_path):
    result = trained(tmp_path, "logger=csv", "trainer.max_epochs=3", "name=mine", "group=ours", QUICK)
    assert len(logged(result, "train/loss")) == len(logged(result, "val/elbo")) == 3
    assert len(logged(result, "val/kl/dim_09")) == 3
    assert logged(result, "test/elbo") == [pytest.approx(result.record["metrics"]["test/elbo"], rel=1e-6)]
    assert (result.record["name"], result.record["group"]) == ("mine", "ours")


def test_without_logger_and_callbacks_the_record_and_the_last_weights_are_kept(tmp_path):
    result = trained(tmp_path, "logger=none", "callbacks=none")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert result.record["weights"] == "checkpoints/last.ckpt"
    assert (result.folder / "checkpoints" / "last.ckpt").is_file()
    assert not [*result.folder.rglob("metrics.csv"), *result.folder.rglob("*.png")]


def test_one_callback_is_left_out_by_null(tmp_path):
    nulls = ("callbacks.kl_pictures=null", "callbacks.latent_map=null", "callbacks.best=null")
    result = trained(tmp_path, *nulls)
    folders = {path.name for path in result.folder.iterdir() if path.is_dir()}
    assert folders == {".hydra", "checkpoints", "samples"}
    assert result.record["weights"] == "checkpoints/last.ckpt"


# seeds


def test_the_same_seed_gives_the_same_bits(tmp_path):
    first, again, other = (
        trained(tmp_path / name, f"seed={seed}", "trainer.max_epochs=2", QUICK)
        for name, seed in [("first", 0), ("again", 0), ("other", 1)]
    )
    assert same(weights(first), weights(again))
    assert first.record["metrics"] == again.record["metrics"]
    assert not same(weights(first), weights(other))
    assert first.record["metrics"]["test/elbo"] != other.record["metrics"]["test/elbo"]


def test_without_a_seed_every_run_is_another(tmp_path):
    first, second = (trained(tmp_path / name, "seed=null", QUICK) for name in ("first", "second"))
    assert first.record["seed"] is None
    assert not same(weights(first), weights(second))


# settings that pass through


def test_any_trainer_argument_passes(tmp_path):
    settings = ("trainer.gradient_clip_val=1e-9", "trainer.accumulate_grad_batches=2", "trainer.min_epochs=1")
    result = trained(tmp_path, *settings, "data.batch_size=16", "logger=csv", QUICK)
    checkpoint = torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2  # four batches, two a step
    assert result.record["config"]["trainer"]["gradient_clip_val"] == 1e-9


@pytest.mark.parametrize(
    ("precision", "advice"),
    [
        ("16-true", "must be bf16-true, or 16-mixed on a GPU"),
        ("16-mixed", "needs a GPU. On a CPU use trainer.precision=bf16-mixed."),
    ],
)
def test_float16_is_refused_where_it_cannot_train(tmp_path, precision, advice):
    result = small(tmp_path, f"trainer.precision={precision}")
    assert result.code == 2
    [line] = result.err.splitlines()
    assert line.startswith(f"vaelab-train: trainer.precision={precision}")
    assert advice in line
    assert not any(result.outputs.glob("runs/*/checkpoints"))


@pytest.mark.parametrize(
    ("model", "precision", "dtype"),
    [
        ("vae", "64-true", torch.float64),
        ("ae", "64-true", torch.float64),
        ("vae", "bf16-mixed", torch.float32),
        ("vae", "bf16-true", torch.bfloat16),
    ],
)
def test_any_precision_trains_and_is_drawn(tmp_path, model, precision, dtype):
    """With the pictures of the default callbacks, whose images and noise come in 32 bits."""
    result = trained(tmp_path, f"model={model}", f"trainer.precision={precision}", "model.latent_dim=2")
    assert weights(result)["model.encoder.1.weight"].dtype == dtype
    assert result.record["metrics"]["test/distortion"] > 0
    drawn = {f"{path.parent.name}/{path.stem}" for path in result.folder.glob("*/*.png")}
    expected = {"samples/prior", "samples/traversals", "samples/mixture", "latents/map", "latents/manifold"}
    assert expected <= drawn


def test_a_users_own_arrays(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, x=np.random.default_rng(0).normal(size=(60, 3, 8, 8)))
    settings = ("data=npz", f"data.path={file}", "likelihood=gaussian", "data.train_size=null")
    result = trained(
        tmp_path / "outputs", *settings, "data.val_size=10", "network=conv", "network.hidden=[4]"
    )
    assert result.record["data"]["image_shape"] == [3, 8, 8]
    assert (result.record["data"]["train"], result.record["data"]["test"]) == (44, 6)


# a user's own variant


@pytest.fixture
def my_folder(tmp_path: Path) -> Path:
    """my/model/mine.yaml and what it needs, outside of the checkout."""
    folder = tmp_path / "my"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "mine.yaml").write_text("defaults: [vae, _self_]\nlatent_dim: 3\n")
    return folder


def test_a_users_own_variant_needs_a_yaml_file_alone(tmp_path, my_folder):
    result = trained(tmp_path / "outputs", "--config-dir", "my", "model=mine", QUICK, cwd=tmp_path)
    assert (result.record["variant"], result.record["latent_dim"]) == ("mine", 3)
    assert result.record["name"] == "mine-digits"
    assert len(result.record["metrics"]["test/kl_per_dim"]) == 3


def test_a_users_own_term_is_named_by_its_target(tmp_path, my_folder, monkeypatch):
    (my_folder / "model" / "mine.yaml").write_text(
        "defaults: [vae, _self_]\nobjective:\n  small: {_target_: my_terms.SmallCode, weight: 2}\n"
    )
    (my_folder / "my_terms.py").write_text(
        "from vaelab.models.objectives import Term\n\n\n"
        "class SmallCode(Term):\n"
        "    def forward(self, stats, step):\n"
        "        return stats.loc.square().sum(-1)\n"
    )
    monkeypatch.syspath_prepend(my_folder)
    result = trained(tmp_path / "outputs", f"--config-dir={my_folder}", "model=mine", QUICK)
    train = {name: value for name, value in result.record["metrics"].items() if name.startswith("train/")}
    total = train["train/distortion"] + train["train/kl"] + 2 * train["train/small"]
    assert train["train/small"] > 0
    assert train["train/loss"] == pytest.approx(total, rel=1e-5)


# terminals and processes


def test_a_terminal_gets_a_progress_bar(tmp_path):
    result = trained(tmp_path, "data.train_size=640", "trainer.log_every_n_steps=5", QUICK, terminal=True)
    bar, _, table = result.out.rpartition("\r")
    words = [line.removeprefix("\x1b[2K") for line in bar.replace("\r", "\n").splitlines()]
    assert any(line.startswith("vae-digits ") and line.endswith("testing") for line in words)
    [line] = [line for line in words if line.startswith("epoch 1/1")]  # what remains of it
    assert "train/loss" in line
    assert "val/elbo" in line
    assert "active units" in table


@pytest.mark.parametrize("command", ["train", "compare", "dashboard", "evaluate", "status"])
def test_the_version_is_vaelabs(command, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [f"vaelab-{command}", "--version"])
    module = import_module(f"vaelab.cli.{command}")
    with suppress(SystemExit):  # of argparse, with code 0
        (module.train if command == "train" else module.main)()
    assert capsys.readouterr().out == f"vaelab {version('vaelab')}\n"


def test_help_shows_the_commands_and_the_groups(tmp_path):
    result = run(tmp_path, "--help")
    assert result.code == 0
    assert "vaelab-train sweep=beta" in result.out
    [models] = [line for line in result.out.splitlines() if line.startswith("model: ")]
    assert {"ae", "beta_vae", "vae"} <= set(models.removeprefix("model: ").split(", "))
    assert "vaelab-train --list" in result.out
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_the_script_trains_with_few_quiet_lines_and_writes_to_the_outputs_alone(tmp_path):
    """`python scripts/train.py` in a process of its own, with a home that nobody has used."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    script = Path(__file__).resolve().parents[2] / "scripts" / "train.py"
    settings = ("trainer=smoke", "model=ae", "data=digits", "network.hidden=[16]", "paths.outputs=there")
    ended = subprocess.run(
        [sys.executable, str(script), *settings],
        cwd=here,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    [folder] = (here / "there" / "runs").iterdir()
    assert read_record(folder)["status"] == "finished"
    assert list((here / "there" / "wandb").glob("offline-run-*"))
    assert len(ended.stdout.splitlines()) <= 14
    assert not [word for word in ("\r", "Tip", "fontManager") if word in ended.stdout]
    assert [path.name for path in here.iterdir()] == ["there"]
    written = {path.relative_to(home).parts[:2] for path in home.rglob("*")}
    cache = {(".cache", "matplotlib"), (".config", "matplotlib")}
    assert {parts for parts in written if len(parts) == 2} <= cache


@pytest.mark.parametrize(("end", "said"), [(500, True), (4, False)])
def test_a_warm_up_that_is_longer_than_the_training_is_said_at_the_start(tmp_path, end, said):
    schedule = ("+schedule@model.beta=linear", "model.beta.unit=steps", f"model.beta.end={end}")
    result = trained(tmp_path, *schedule, "trainer.max_epochs=4", "callbacks=none")
    line = f"The schedule kl_weight ends at step {end}, but the training has 4 steps"
    assert (line in result.out) == said
