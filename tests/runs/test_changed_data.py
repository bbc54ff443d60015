"""A run is known by its images, not by the name of their file."""

import shutil

import numpy as np
import pytest

from cli_runner import read_record, small
from support.stopper import Stop
from vaelab.data import kept
from vaelab.errors import UserError
from vaelab.evaluation.trained_run import TrainedRun

RNG = np.random.default_rng(0)
STOP = "+callbacks.stop._target_=support.stopper.Stop"
SETTINGS = ("data=npz", "data.test_size=20", "likelihood=gaussian", "trainer.max_epochs=2", STOP)


@pytest.fixture(autouse=True)
def _never_left_behind():
    yield
    Stop.at(None)


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "mine.npz", x=RNG.random((140, 5, 5)))
    return tmp_path / "mine.npz"


def replace(file):
    np.savez(file, x=RNG.random((140, 5, 5)))


@pytest.mark.parametrize("stopped", [True, False], ids=["resume", "skip"])
def test_a_run_on_a_replaced_file_is_refused(tmp_path, file, stopped):
    folder = tmp_path / "run"
    command = (*SETTINGS, f"data.path={file}", f"hydra.run.dir={folder}")
    Stop.at("train_epoch_start" if stopped else None, 2)
    small(tmp_path, *command)
    before = read_record(folder)
    assert before["status"] == ("interrupted" if stopped else "finished")
    moved = shutil.move(file, tmp_path / "kept.npz")
    replace(file)
    result = small(tmp_path, *command)
    assert result.code == 2
    assert f"data.path={file} has changed since" in result.err
    assert len(result.err.splitlines()) == 1
    assert read_record(folder) == before
    shutil.move(moved, file)
    assert small(tmp_path, *command).code == 0
    assert read_record(folder)["data"]["sha256"] == before["data"]["sha256"]


def test_a_run_does_not_resume_on_other_images_of_the_same_config(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    command = (STOP, "trainer.max_epochs=2", "data.batch_size=16", f"hydra.run.dir={folder}")
    Stop.at("train_batch_end", 5)
    small(tmp_path, *command)
    kept.forget()
    monkeypatch.setattr("vaelab.data.splits.data_digest", lambda *_: "another")
    result = small(tmp_path, *command)
    assert result.code == 2
    assert "The images are not those with which the run in" in result.err


def test_a_run_is_not_evaluated_on_other_images(tmp_path, file):
    folder = small(tmp_path, *SETTINGS[:-1], f"data.path={file}").folder
    assert len(TrainedRun(folder, read_record(folder), tmp_path).data.test) == 20
    replace(file)
    with pytest.raises(UserError, match=r"mine\.npz has other images than those with which .* was trained"):
        TrainedRun(folder, read_record(folder), tmp_path).data  # noqa: B018
