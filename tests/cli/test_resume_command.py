"""`vaelab-train resume=...`: a single run goes on by its own record, from anywhere, and may be extended."""

import json
import shlex
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

import vaelab
from cli_runner import Result, read_record, run, small, trained
from vaelab.runs.resume import LAST
from vaelab.training.callbacks import Clock

QUICK = ("callbacks=no_pictures", "threads=1")


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Path:
    """The outputs of a run of two epochs named short; to copy, not to change."""
    return trained(tmp_path_factory.mktemp("short"), *QUICK, "trainer.max_epochs=2", "name=short").outputs


@pytest.fixture
def outputs(short: Path, tmp_path: Path) -> Path:
    return shutil.copytree(short, tmp_path / "outputs")


def test_a_finished_run_that_is_extended_ends_as_one_that_was_long_from_the_start(outputs: Path):
    long = trained(outputs / "other", *QUICK, "trainer.max_epochs=4").record
    result = run(outputs, "resume=short", "trainer.max_epochs=4")
    assert result.code == 0, result.err
    extended = result.record
    assert extended["metrics"] == long["metrics"]
    assert extended["config"]["trainer"]["max_epochs"] == 4
    first, second = extended["sessions"]
    assert "extended" not in first
    assert (second["from"], second["extended"]) == ("checkpoint", {"trainer.max_epochs": [2, 4]})
    assert extended["timing"]["train_seconds"] > 0
    lines = (result.folder / "history.csv").read_text().splitlines()
    assert len(lines) == 5
    again = run(outputs, "resume=short")
    assert (again.code, "already finished" in again.out) == (0, True)


def test_the_same_command_with_more_epochs_extends_too(outputs: Path):
    assert trained(outputs, *QUICK, "trainer.max_epochs=3", "name=short").record["sessions"][1]["extended"]


def test_python_extends_a_run(outputs: Path):
    loaded = vaelab.train(f"resume={outputs / 'runs' / 'short'}", "trainer.max_epochs=3")
    assert loaded.record["config"]["trainer"]["max_epochs"] == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["resume=short", "model.beta=3"], "model.beta: 1.0 before, 3 now"),
        (["resume=short", "trainer.max_epochs=1"], "trainer.max_epochs: 2 before, 1 now"),
        (["resume=short", "lr=1"], "The run has no key 'lr'. Did you mean 'optimizer.lr'?"),
        (["resume=short", "model.beta=1,2"], "takes only key=value"),
        (["resume=short", "data.path=x"], "data.path=x: the data of "),
        (["resume=sort"], "Did you mean 'short'?"),
        (["resume="], "not the folder of a run"),
        (["-m", "resume=short"], "-m can't be combined with resume"),
    ],
)
def test_what_a_resumption_refuses(outputs: Path, settings, message):
    before = read_record(outputs / "runs" / "short")
    result = run(outputs, *settings)
    assert (result.code, len(result.err.splitlines()) <= 2) == (2, True), result.err
    assert message in result.err
    assert read_record(outputs / "runs" / "short") == before


def test_a_schedule_in_shares_of_the_training_cannot_be_extended(tmp_path):
    name = ("name=run", "model=annealed_vae", *QUICK)
    trained(tmp_path, *name)
    result = run(tmp_path, "resume=run", "trainer.max_epochs=2")
    assert result.code == 2
    assert "can't be extended from 1 to 2 epochs" in result.err
    assert "in shares of the training (RampSchedule)" in result.err
    assert read_record(tmp_path / "runs" / "run")["status"] == "finished"


def test_a_finished_run_without_its_last_checkpoint_is_left_alone(outputs: Path):
    (outputs / "runs" / "short" / "checkpoints" / "last.ckpt").unlink()
    result = run(outputs, "resume=short", "trainer.max_epochs=3")
    assert (result.code, "can't be extended" in result.err) == (2, True)
    assert read_record(outputs / "runs" / "short")["status"] == "finished"


def test_a_state_of_another_version_is_refused_and_the_run_can_still_be_resumed(outputs: Path):
    folder = outputs / "runs" / "short"
    before, whole = read_record(folder), (folder / LAST).read_bytes()
    checkpoint = torch.load(folder / LAST, weights_only=True)
    checkpoint["callbacks"]["Collapse"] = {"collapsed": 1, "warned": False}  # what it stored at first
    torch.save(checkpoint, folder / LAST)
    result = run(outputs, "resume=short", "trainer.max_epochs=3")
    assert (result.code, len(result.err.splitlines())) == (2, 1), result.err
    assert "Collapse can't take its state (KeyError: 'in_a_row')" in result.err
    assert read_record(folder) == before
    (folder / LAST).write_bytes(whole)
    again = run(outputs, "resume=short", "trainer.max_epochs=3")
    assert [session["from"] for session in again.record["sessions"]] == ["start", "checkpoint"]


def test_a_config_from_a_stranger_calls_nothing(outputs: Path, tmp_path):
    file = outputs / "runs" / "short" / "results.json"
    record = json.loads(file.read_text())
    record["config"]["model"]["posterior"] = {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
    file.write_text(json.dumps(record))
    result = run(outputs, "resume=short", "trainer.max_epochs=3")
    assert (result.code, "wants to call 'os.mkdir'" in result.err) == (2, True)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_it_goes_on(tmp_path, monkeypatch, sent):
    report = Clock.on_train_batch_end

    def stop(self, trainer, *arguments):
        report(self, trainer, *arguments)
        if trainer.current_epoch == 2:
            signal.raise_signal(sent)

    settings = (*QUICK, "trainer.max_epochs=4", "name=a b")
    monkeypatch.setattr(Clock, "on_train_batch_end", stop)
    result: Result = small(tmp_path, *settings)
    monkeypatch.undo()
    assert result.code == 128 + sent, result.err
    [line] = [line for line in result.err.splitlines() if "To go on: " in line]
    command = shlex.split(line.partition("To go on: ")[2])
    assert command == ["vaelab-train", f"resume={result.folder}"]
    assert run(tmp_path, *command[1:]).code == 0
    whole = trained(tmp_path / "whole", *settings).record
    assert result.record["metrics"] == whole["metrics"]
    assert result.folder.name == "a_b"


def test_a_copied_run_goes_on_where_it_is_and_finds_its_data_beside_it(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    np.savez(project / "mine.npz", x=np.random.default_rng(0).random((80, 6, 6), dtype=np.float32))
    data = ("data=npz", "data.path=mine.npz", "data.val_size=10", "data.train_size=32")
    trained(project / "outputs", *data, "name=run", *QUICK, cwd=project)
    project.rename(tmp_path / "moved")
    outputs = tmp_path / "moved" / "outputs"
    folder = outputs / "runs" / "run"
    result = run(tmp_path / "elsewhere", f"resume={folder}", "trainer.max_epochs=2")
    assert result.code == 0, result.err
    assert read_record(folder)["sessions"][1]["extended"]
    assert not project.exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["..", "'../..'", "/"])
def test_a_name_stays_among_the_runs(tmp_path, name):
    result = small(tmp_path, *QUICK, f"name={name}")
    assert (result.code, "needs a letter or a digit" in result.err) == (2, True), result.err
    assert list(tmp_path.rglob("results.json")) == []
