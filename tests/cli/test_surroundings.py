"""What the user's files, folders, streams and disk can do to a command: it says so in a line."""

import errno
import os
import subprocess
import sys

import pytest

from cli_runner import SMALL, read_record, run, small
from vaelab.cli import status
from vaelab.training.checkpoints import AtomicCheckpointIO


def refused(result, text):
    assert result.code == 2
    assert text in result.err
    assert len(result.err.strip().splitlines()) <= 2
    assert "Traceback" not in result.out + result.err


def test_defaults_that_lead_back_to_themselves_are_named(tmp_path):
    folder = tmp_path / "my" / "model"
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text("defaults: [two, _self_]\n")
    (folder / "two.yaml").write_text("defaults: [one, _self_]\n")
    refused(run(tmp_path / "o", "--config-dir", str(tmp_path / "my"), "model=one"), "lead back to itself")


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    folder = tmp_path / "my" / "model"
    folder.mkdir(parents=True)
    (folder / "latin.yaml").write_bytes(b"defaults: [_base, _self_]\n# caf\xe9\n")
    result = run(tmp_path / "o", "--config-dir", str(tmp_path / "my"), "model=latin")
    refused(result, "latin.yaml is not text in UTF-8")


@pytest.mark.parametrize("name", ["../up", "/absolute", "p/l", "", "~", ".."])
def test_a_sweeps_name_is_the_name_of_a_folder(tmp_path, name):
    result = small(tmp_path, "-m", "model.beta=1,2", f"sweep.name='{name}'")
    refused(result, "must be the name of a folder")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("multirun", [(), ("-m", "seed=0,1")])
@pytest.mark.parametrize("place", ["''", "'~'", "'~/runs'", "null"])
def test_outputs_are_a_folder(tmp_path, place, multirun):
    result = run(tmp_path, *multirun, *SMALL, last=f"paths.outputs={place}")
    refused(result, "paths.outputs=")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Hydra 1.3 about conf/hydra/launcher
def test_jobs_side_by_side_are_not_zero(tmp_path):
    result = small(tmp_path, "-m", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0")
    refused(result, "hydra.launcher.n_jobs=0: must be")


def test_a_full_disk_stops_a_sweep_in_a_line_and_the_same_command_goes_on(tmp_path, monkeypatch, plain_table):
    sweep = ("-m", "model.beta=1,2,4", "sweep.name=s", "callbacks=no_pictures", "threads=1")
    save, calls = AtomicCheckpointIO.save_checkpoint, []

    def full(self, checkpoint, path, *args, **options):
        calls.append(path)
        if len(calls) > 2:  # best and last of the first job
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        save(self, checkpoint, path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", full)
        result = small(tmp_path, *sweep)
    assert result.code == 1
    [line] = [line for line in result.err.splitlines() if "No space left" in line]
    assert "the same command continues the sweep" in line
    assert "Traceback" not in result.out + result.err
    assert [record["status"] for record in result.records.values()] == ["finished", "interrupted"]
    assert len(calls) == 3
    after = small(tmp_path, *sweep)
    assert after.code == 0
    assert [record["status"] for record in after.records.values()] == ["finished"] * 3


def test_jobs_in_folders_of_the_users_own_are_counted(tmp_path, plain_table):
    result = small(tmp_path, "-m", "model.beta=1,2", "sweep.name=s", "hydra.sweep.subdir=job${hydra.job.num}")
    assert result.code == 0, result.err
    assert set(result.records) == {"job0", "job1"}
    assert [job.state for job in status.sweep_jobs(result.sweep)] == ["finished"] * 2


@pytest.mark.parametrize(
    ("given", "mode"), [("dryrun", "offline"), ("run", "online"), ("", "offline"), ("disabled", "disabled")]
)
def test_the_modes_of_wandb_are_those_of_its_sdk(monkeypatch, given, mode):
    from vaelab.runs.naming import wandb_mode

    monkeypatch.setenv("WANDB_MODE", given)
    assert wandb_mode() == mode


def test_the_id_of_a_wandb_run_is_ignored_in_a_sweep(tmp_path, monkeypatch, plain_table, wandb_offline):
    monkeypatch.setenv("WANDB_RUN_ID", "one")
    result = small(tmp_path, "-m", "seed=0,1", "logger=wandb", "callbacks=no_pictures")
    assert "WANDB_RUN_ID is ignored in a sweep" in result.out + result.err
    ids = {record["wandb"]["id"] for record in result.records.values()}
    assert len(ids) == 2
    assert "one" not in ids


@pytest.mark.parametrize("tags", ["[2024]", f"[{'x' * 65}]"])
def test_a_tag_that_wandb_would_refuse_is_named(tmp_path, tags):
    refused(small(tmp_path, "logger=wandb", f"logger.tags={tags}"), "logger.tags")


COMMAND = [sys.executable, "-m", "vaelab.cli.train", "-m", *SMALL, "callbacks=no_pictures", "threads=1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "environment"),
    [
        (">&- 2>&-", {}),
        pytest.param("| head -c 1", {}, marks=pytest.mark.exhaustive),
        ("", {"PYTHONIOENCODING": "ascii", "MPLBACKEND": "nonsense"}),
    ],
)
def test_streams_and_variables_do_not_stop_a_sweep(tmp_path, shell, environment):
    command = " ".join(f"'{part}'" for part in [*COMMAND, "model.beta=1,2", f"paths.outputs={tmp_path}"])
    done = subprocess.run(
        f"{command} {shell}",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=tmp_path,
        check=False,
    )
    assert done.stderr == "" or "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 4
    if "head" not in shell:
        states = [read_record(file.parent)["status"] for file in tmp_path.glob("sweeps/*/*/results.json")]
        assert states == ["finished"] * 2
