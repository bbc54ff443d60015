"""A run that was stopped and goes on ends as one that was not stopped, bit for bit."""

import math
import shutil

import pytest
import torch

from cli_runner import read_record, run
from support.stopper import Stop
from vaelab.training.callbacks.history import read_rows
from vaelab.training.callbacks.latents import KLPictures
from vaelab.training.checkpoints import relocated

COMMON = (
    "data=digits",
    "data.train_size=90",
    "data.val_size=30",
    "data.batch_size=16",  # 6 steps an epoch
    "network.hidden=[16]",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=4",
    "trainer.log_every_n_steps=4",
    "callbacks.samples=null",
    "callbacks.latent_map=null",
    "callbacks.last.every_minutes=0",
    "+callbacks.stop._target_=support.stopper.Stop",
    "logger=none",
)


@pytest.fixture(autouse=True)
def _never_left_behind():
    yield
    Stop.at(None)


def same(one, other, where=""):
    """Equal, bit for bit, whatever is nested in it; but for what tells of time and place."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if key not in BESIDE:
                same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{where}/{number}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif not (isinstance(one, float) and math.isnan(one) and math.isnan(other)):
        assert one == other, where


def load(folder, name):
    return torch.load(folder / "checkpoints" / name, weights_only=True)


def same_run(folder, undisturbed):
    """The record, the checkpoints and the history are the undisturbed run's."""
    one, other = read_record(folder), read_record(undisturbed)
    assert one["status"] == other["status"] == "finished"
    same(one["metrics"], other["metrics"])
    same(one["curve"], other["curve"])
    same(one["stopped"], other["stopped"])
    assert one["weights"] == other["weights"]
    names = sorted(file.name for file in (undisturbed / "checkpoints").iterdir())
    assert sorted(file.name for file in (folder / "checkpoints").iterdir()) == names
    for name in names:
        same(load(folder, name), load(undisturbed, name), name)
    assert (folder / "history.csv").read_text() == (undisturbed / "history.csv").read_text()


def go(tmp_path, name, *settings):
    folder = tmp_path / name
    return run(tmp_path, *COMMON, *settings, f"hydra.run.dir={folder}"), folder


# places, and what Lightning tells of the last comparison and does not take up again
BESIDE = (
    "folder",
    "dirpath",
    "best_model_path",
    "best_k_models",
    "kth_best_model_path",
    "paths",
    "current_score",
)

SETTINGS = {
    "plain": (),
    "dynamic": ("data.binarize=dynamic",),
    "accumulate": ("trainer.accumulate_grad_batches=2", "trainer.log_every_n_steps=1"),
    "mid-epoch-validation": ("trainer.val_check_interval=0.5",),
    "no-validation": ("data.val_size=0",),
    "rare-validation": ("trainer.check_val_every_n_epoch=3",),
    "steps": ("trainer.max_epochs=-1", "trainer.max_steps=21"),
    "epoch-checkpoints": ("callbacks.last.every_minutes=null",),
    "rare-checkpoints": ("callbacks.last.every_minutes=null", "callbacks.last.every_n_epochs=3"),
    "schedule": ("trainer.gradient_clip_val=0.5", "optimizer=adamw"),
    "denoising": ("model=denoising_ae", "model/corruption=masking"),
    "multi-rate": ("model=multi_rate_vae", "model.betas=[0.5,2]", "trainer.log_every_n_steps=4"),
    "early-stopping": (  # in epoch 3
        "callbacks=early_stopping",
        "callbacks.early_stopping.patience=2",
        "callbacks.early_stopping.min_delta=1000",
    ),
    "turns": ("steps_at_once=4", "trainer.log_every_n_steps=5"),  # of four steps and of two
    "moving-codes": (
        "model=vq_vae_ema",
        "model.revive_below=0.8",  # most codes restart at step 7, others later
        "prior=fitted_codes",
        "trainer.accumulate_grad_batches=2",
    ),
}

MOMENTS = [
    ("train_batch_end", 1),  # before the first checkpoint
    ("train_batch_end", 9),  # within the second epoch
    ("train_batch_start", 12),  # before an epoch's last step
    ("train_batch_end", 12),  # after it, before its checkpoint
    ("train_epoch_start", 3),
    ("train_epoch_end", 2),
    ("validation_batch_start", 2),
    ("train_batch_end", 20),
    ("test_batch_start", 1),  # all training is done
]
OF_TURNS = [("train_batch_end", 3), ("train_batch_start", 4), ("train_epoch_end", 3)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    done = {}

    def folder(name):
        if name not in done:
            result, done[name] = go(tmp_path_factory.mktemp(name), "run", *SETTINGS[name])
            assert result.code == 0, result.err + result.out
        return done[name]

    return folder


# every moment with the settings that differ most, and the moments that differ most with every setting
CASES = [
    pytest.param(
        settings,
        moment,
        id=f"{settings}-{moment[0]}-{moment[1]}",
        marks=() if settings == "plain" else pytest.mark.slow,
    )
    for settings in SETTINGS
    for moment in (*MOMENTS, *OF_TURNS)
    if (settings == "plain" and moment in MOMENTS)
    or (settings == "turns" and moment in OF_TURNS)
    or (settings != "turns" and moment in MOMENTS[1::4])
    or (settings == "steps" and moment in MOMENTS[::3])
    or (settings == "early-stopping" and moment in MOMENTS[-1:])
]


@pytest.mark.parametrize(("settings", "moment"), CASES)
def test_a_stopped_run_ends_as_if_it_had_not_been_stopped(
    tmp_path, monkeypatch, undisturbed, settings, moment
):
    reference = undisturbed(settings)
    # what the pictures show is compared; that they are drawn, once is enough
    if (settings, moment) != ("plain", MOMENTS[0]):
        monkeypatch.setattr(KLPictures, "on_test_end", lambda *_: None)
    Stop.at(*moment)
    stopped, folder = go(tmp_path, "run", *SETTINGS[settings])
    if Stop.hook is not None:
        pytest.skip("this run has no such moment")
    assert stopped.code == 130
    assert read_record(folder)["status"] == "interrupted"
    again, _ = go(tmp_path, "run", *SETTINGS[settings])
    assert again.code == 0, again.err + again.out
    same_run(folder, reference)
    assert [session["status"] for session in read_record(folder)["sessions"]] == ["interrupted", "finished"]


def test_a_terminated_run_writes_a_checkpoint_at_once_and_goes_on(tmp_path, undisturbed):
    reference = undisturbed("epoch-checkpoints")
    Stop.at("train_batch_end", 8, sigterm=True)
    stopped, folder = go(tmp_path, "run", *SETTINGS["epoch-checkpoints"])
    assert stopped.code == 143
    assert "SIGTERM" in read_record(folder)["error"]
    assert load(folder, "last.ckpt")["global_step"] == 8  # in the middle of the second epoch
    again, _ = go(tmp_path, "run", *SETTINGS["epoch-checkpoints"])
    assert again.code == 0, again.err + again.out
    same_run(folder, reference)


@pytest.mark.slow
def test_terminated_in_its_test_a_run_stops_the_sweep(tmp_path):
    Stop.at("test_batch_start", 1, sigterm=True)
    result = run(tmp_path, "-m", "model.beta=1,2", *COMMON)
    assert result.code == 143
    assert [record["status"] for record in result.records.values()] == ["interrupted"]
    again = run(tmp_path, "-m", "model.beta=1,2", *COMMON)
    assert again.code == 0
    assert [record["status"] for record in again.records.values()] == ["finished", "finished"]


def test_csv_keeps_the_rows_from_before_the_stop(tmp_path):
    settings = [setting for setting in COMMON if not setting.startswith("logger=")]
    command = (*settings, "logger=csv", f"hydra.run.dir={tmp_path / 'run'}")
    Stop.at("train_epoch_start", 3)
    assert run(tmp_path, *command).code == 130
    before = read_rows(tmp_path / "run" / "metrics.csv")
    assert {row["epoch"] for row in before} >= {"0", "1"}
    assert run(tmp_path, *command).code == 0
    after = read_rows(tmp_path / "run" / "metrics.csv")
    assert [row["val/elbo"] for row in after[: len(before)]] == [row["val/elbo"] for row in before]
    assert [row["epoch"] for row in after if row["val/elbo"]] == ["0", "1", "2", "3"]


# the best weights are those of the first epoch, so that a forgotten best score would be seen: the rate rises
# while it costs nothing yet
LATE = "{_target_: vaelab.models.RampSchedule, stop: 1000, begin: 1000, end: 2000, unit: steps}"
EARLY = ("model=vae", f"model.beta={LATE}")


@pytest.mark.parametrize("moved", ["copy", "rename", "link", "relative"])
def test_a_run_that_was_moved_ends_as_if_it_had_not_been(tmp_path, moved):
    result, reference = go(tmp_path, "undisturbed", *EARLY)
    assert result.code == 0, result.err + result.out
    assert load(reference, "best.ckpt")["epoch"] == 0

    Stop.at("train_epoch_start", 3)
    before = tmp_path / "before"
    assert go(tmp_path, "before", *EARLY)[0].code == 130
    folder = tmp_path / "elsewhere" / "after"
    folder.parent.mkdir()
    if moved == "copy":
        shutil.copytree(before, folder)
    elif moved == "rename":
        before.rename(folder)
    elif moved == "link":
        folder.symlink_to(before)
    else:
        before.rename(folder)
    given = folder.relative_to(tmp_path) if moved == "relative" else folder  # the run's cwd is tmp_path
    result = run(tmp_path, *COMMON, *EARLY, f"hydra.run.dir={given}")
    assert "resumes from its last checkpoint" in result.err + result.out
    same_run(folder, reference)
    if moved == "copy":
        assert load(before, "best.ckpt")["epoch"] == load(folder, "best.ckpt")["epoch"]


def test_paths_of_a_callback_move_with_the_folder_and_nothing_else_does():
    state = {
        "best_k_models": {"/a/b/c.ckpt": torch.tensor(1.0)},
        "dirpath": "/a/b",
        "other": ["/a/bc", 3, None],
    }
    moved = relocated(state, "/a/b", "/x")
    assert moved == {
        "best_k_models": {"/x/c.ckpt": torch.tensor(1.0)},
        "dirpath": "/x",
        "other": ["/a/bc", 3, None],
    }
