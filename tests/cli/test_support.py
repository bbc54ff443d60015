"""The test support is tested against the real SDK: what goes into W&B must come out of our readers."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb

from support.wandb_files import media_paths, read_run, read_runs
from support.wandb_home import LEAN, wandb_home
from support.wandb_stub import ENTITY, WandbStub

CONFIG = {"beta": 4.0, "model": {"name": "beta_vae", "latent": {"dim": 2, "names": ["a", "b"]}}, "ckpt": None}
PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)
HISTOGRAM = {"_type": "histogram", "values": [0.25, 1.5], "bins": [0, 1, 2]}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """An offline W&B home; the value is the folder of its runs."""
    with wandb_home(tmp_path) as runs:
        yield runs


@pytest.fixture
def stub() -> Iterator[WandbStub]:
    with WandbStub() as stub:
        yield stub
    assert stub.unknown == []


def start(**options: Any) -> wandb.Run:
    settings = (
        LEAN.model_copy()
    )  # wandb.init writes the run's own settings, its id for one, into what it is given
    return wandb.init(project="vaelab", reinit="create_new", settings=settings, **options)


def log_everything(exit_code: int = 0) -> None:
    """A run with one of each thing that vaelab sends."""
    run = start(name="beta 4", group="sweep", job_type="train", tags=["toy", "beta"], config=CONFIG)
    run.log({"val/kl/dim_00": 1.5, "epoch": 0})
    run.log({"val/kl/dim_00": 1.25, "epoch": 1, "samples": wandb.Image(PIXELS)})
    run.log({"grid": [wandb.Image(PIXELS), wandb.Image(255 - PIXELS)]})
    run.log({"kl": wandb.Histogram(np_histogram=(np.array([0.25, 1.5]), np.arange(3)))})
    run.config.update({"late": {"value": 1}})
    run.summary["val/elbo"] = -98.5
    run.alert("collapsed", "no active units")
    run.finish(exit_code=exit_code)
    wandb.teardown()  # only now is the file whole


def without_clock(row: dict[str, Any]) -> dict[str, Any]:
    """A history row or summary without the entries that the SDK adds to every one."""
    return {key: value for key, value in row.items() if not key.startswith("_")}


def check_values(history: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """The numbers and the histogram of `log_everything`, in their rows and in the summary."""
    rows = [without_clock(row) for row in history]
    assert rows[0] == {"val/kl/dim_00": 1.5, "epoch": 0}
    assert rows[1] == {"val/kl/dim_00": 1.25, "epoch": 1, "samples": rows[1]["samples"]}
    assert rows[2]["grid"]["count"] == 2
    assert rows[3] == {"kl": HISTOGRAM}
    assert [row["_step"] for row in history] == [0, 1, 2, 3]
    last = {"val/kl/dim_00": 1.25, "epoch": 1, "val/elbo": -98.5}
    assert without_clock(summary) == last | {
        "samples": rows[1]["samples"],
        "grid": rows[2]["grid"],
        "kl": HISTOGRAM,
    }


def test_offline_run_is_read_back(home: Path) -> None:
    log_everything()
    (run,) = read_runs(home)
    assert (run.name, run.group, run.job_type, run.project) == ("beta 4", "sweep", "train", "vaelab")
    assert run.path.name.endswith(run.id)
    assert run.tags == ["toy", "beta"]
    assert run.config == CONFIG | {"late": {"value": 1}}
    check_values(run.history, run.summary)
    assert run.alerts == [{"title": "collapsed", "text": "no active units", "level": "INFO"}]
    assert run.exit_code == 0


def test_media_lie_where_the_run_points(home: Path) -> None:
    log_everything()
    (run,) = read_runs(home)
    paths = media_paths(run)
    assert sorted(paths) == sorted((run.path / "files").rglob("*.png"))
    assert sorted(path.relative_to(run.path / "files").as_posix() for path in paths) == sorted(run.files)
    assert len(paths) == 3
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_folder_and_file_are_the_same_run(home: Path) -> None:
    log_everything()
    (folder,) = home.glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    assert read_run(folder) == read_run(file)


def test_three_runs_in_one_folder(home: Path) -> None:
    for beta in (1.0, 2.0, 4.0):
        run = start(config={"beta": beta})
        run.log({"loss": beta})
        run.finish()
    wandb.teardown()
    runs = read_runs(home)
    assert [run.config["beta"] for run in runs] == [1.0, 2.0, 4.0]  # the oldest first
    assert all(run.history[0]["loss"] == run.config["beta"] for run in runs)
    assert len({run.id for run in runs}) == 3


def test_failed_run_has_its_exit_code(home: Path) -> None:
    log_everything(exit_code=1)
    assert read_runs(home)[0].exit_code == 1


def test_records_longer_than_a_block(home: Path) -> None:
    text = {f"word {i}": "x" * 50_000 for i in range(3)}
    run = start(config=text)
    run.log({"long": text["word 0"]})
    run.finish()
    wandb.teardown()
    (read,) = read_runs(home)
    assert read.config == text
    assert read.history[0]["long"] == text["word 0"]


def test_killed_run_is_read_as_far_as_it_goes(home: Path) -> None:
    log_everything()
    (file,) = home.glob("offline-run-*/*.wandb")
    whole, data = read_run(file), file.read_bytes()
    for length in range(7, len(data), 50):
        file.write_bytes(data[:length])
        run = read_run(file)
        assert run.exit_code is None
        assert run.history == whole.history[: len(run.history)]
    file.write_bytes(data[:-1])  # without the very last byte only the last record is lost: the exit
    assert read_run(file) == replace(whole, exit_code=None)


def test_artifact_offline_and_online_agree(tmp_path: Path, stub: WandbStub) -> None:
    weights = tmp_path / "weights.txt"
    weights.write_text("0.5")
    for mode in ("offline", "online"):
        with wandb_home(tmp_path, **stub.environ | {"WANDB_MODE": mode}):
            artifact = wandb.Artifact("model", "model", metadata={"beta": 4.0})
            artifact.add_file(str(weights))
            run = start()
            run.log_artifact(artifact)
            run.finish()
    (offline,) = read_runs(tmp_path / "wandb")
    expected = {"name": "model", "type": "model", "aliases": ["latest"], "metadata": {"beta": 4.0}}
    assert offline.artifacts == [expected | {"files": ["weights.txt"]}]
    (online,) = stub.runs.values()
    (received,) = online.artifacts
    assert {key: getattr(received, key) for key in expected} == expected
    assert received.files == {"weights.txt": b"0.5"}
    assert list(received.manifest["contents"]) == ["weights.txt"]
    assert received.committed


@pytest.mark.parametrize("exit_code", [0, 1])
def test_online_run_reaches_the_stub(tmp_path: Path, stub: WandbStub, exit_code: int) -> None:
    with wandb_home(tmp_path, **stub.environ):
        log_everything(exit_code)
    check_stub(stub, tmp_path / "wandb", exit_code)


@pytest.mark.parametrize("exit_code", [0, 1])
def test_synced_run_reaches_the_stub(tmp_path: Path, stub: WandbStub, exit_code: int) -> None:
    with wandb_home(tmp_path, **stub.environ | {"WANDB_MODE": "offline"}) as runs:
        log_everything(exit_code)
        assert not stub.runs
        wandb_command("sync", str(runs))
        assert list(runs.glob("*/*.wandb.synced"))
    check_stub(stub, runs, exit_code)


def check_stub(stub: WandbStub, runs: Path, exit_code: int) -> None:
    """The one run at the stub is the one of `log_everything`, with the files that lie in `runs`."""
    (run,) = stub.runs.values()
    assert (run.name, run.group, run.job_type, run.project) == ("beta 4", "sweep", "train", "vaelab")
    assert run.tags == ["toy", "beta"]
    assert run.config == CONFIG | {"late": {"value": 1}}
    check_values(run.history, run.summary)
    pictures = {path.name: path.read_bytes() for path in runs.glob("*run-*/files/media/images/*.png")}
    assert len(pictures) == 3
    assert {Path(name).name: data for name, data in run.files.items() if "media" in name} == pictures
    assert [alert["title"] for alert in run.alerts] == ["collapsed"]
    assert run.exit_code == exit_code


def test_resumed_run_goes_on_counting(tmp_path: Path, stub: WandbStub) -> None:
    with wandb_home(tmp_path, **stub.environ):
        for loss in (2.0, 1.0):
            run = start(id="abc", resume="allow")
            run.log({"loss": loss})
            run.finish()
    rows = [(row["_step"], row["loss"]) for row in stub.runs["abc"].history]
    assert rows == [(0, 2.0), (1, 1.0)]


def test_refused_key(tmp_path: Path) -> None:
    with WandbStub(refuse_key=True) as stub, wandb_home(tmp_path, **stub.environ):
        with pytest.raises(wandb.errors.CommError, match="user is not logged in"):
            start()
        assert stub.runs == {}


def test_missing_key(tmp_path: Path) -> None:
    with (
        wandb_home(tmp_path, WANDB_MODE="online"),
        pytest.raises(wandb.errors.UsageError, match="No API key"),
    ):
        start()


def test_stopped_server_is_gone(tmp_path: Path) -> None:
    stub = WandbStub()
    stub.stop()
    stub.stop()
    hasty = LEAN.model_copy(update={"init_timeout": 0.1})
    with wandb_home(tmp_path, **stub.environ), pytest.raises(wandb.errors.CommError, match="refused"):
        wandb.init(project="vaelab", reinit="create_new", settings=hasty)


def test_server_that_dies_in_the_middle(tmp_path: Path, stub: WandbStub) -> None:
    impatient = LEAN.model_copy(update={"finish_timeout": 0.5})  # else it tries again for minutes
    with wandb_home(tmp_path, **stub.environ) as runs:
        run = wandb.init(project="vaelab", reinit="create_new", settings=impatient)
        run.log({"loss": 2.0})
        stub.stop()
        run.log({"loss": 1.0})
        run.finish()
    (folder,) = runs.glob("run-*")
    assert [row["loss"] for row in read_run(folder).history] == [2.0, 1.0]
    assert stub.runs[run.id].exit_code is None


def test_unknown_question_is_answered_and_remembered() -> None:
    with WandbStub() as stub:
        reply = stub.graphql({"query": "query Weather { weather }"})
        assert reply["errors"][0]["message"] == "the stub does not know Weather"
        assert stub.unknown == ["Weather"]


@pytest.mark.parametrize("exit_code", [0, 1])
def test_leet_sees_the_same_run(home: Path, exit_code: int) -> None:
    log_everything(exit_code)
    (run,) = read_runs(home)
    seen = json.loads(wandb_command("leet", "inspect", "--summary", "--json", str(run.path)))
    assert (seen["name"], seen["project"], seen["exit_code"]) == (run.name, run.project, run.exit_code)
    assert seen["step"] == run.history[-1]["_step"]
    assert seen["config"] == run.config
    assert without_clock(seen["summary"]) == without_clock(run.summary)


def wandb_command(*arguments: str) -> str:
    """Run the `wandb` command and return what it prints."""
    command = [sys.executable, "-m", "wandb", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_runs_belong_to_the_entity_of_the_stub(tmp_path: Path, stub: WandbStub) -> None:
    with wandb_home(tmp_path, **stub.environ):
        run = start()
        run.finish()
    assert run.url == f"{stub.url}/{ENTITY}/vaelab/runs/{run.id}"
