"""W&B online, against a stub of the server: what arrives, and what happens if the server lets us down."""

import gc
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli_runner import Result, read_record, small, trained
from support.at_epoch import AtEpoch
from support.stopper import Stop
from support.wandb_files import WandbRun, read_run, read_runs
from support.wandb_home import wandb_home
from support.wandb_stub import WandbStub
from vaelab.training import wandb_run

HISTORY = {"train/loss", "train/distortion", "train/kl", "val/elbo", "val/rate", "val/distortion", "val/mse"}
ONLINE = ("logger=wandb", "logger.mode=online", "logger.init_timeout=1", "logger.finish_timeout=1")
LEAN = ("callbacks.samples=null", "callbacks.kl_pictures=null", "callbacks.latent_map=null")
AGAIN = ("--include-online", "--include-synced")


@pytest.fixture(autouse=True)
def no_memory(monkeypatch) -> None:
    """Each test meets its server for the first time."""
    monkeypatch.setattr(wandb_run, "_unavailable", {})


@pytest.fixture
def closed_port() -> str:
    """An address at which nobody listens."""
    with WandbStub() as stub:
        return stub.url


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes the call and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def sync(folder: Path, home: Path, *options: str, into: WandbStub | None = None) -> WandbStub:
    """`wandb sync <options> <folder>` to a fresh server, or to one that is back with what it knew."""
    with WandbStub() as stub, wandb_home(home, **stub.environ):
        stub.runs = into.runs if into else {}
        command = [sys.executable, "-m", "wandb", "sync", *options, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return stub


def assert_all_there(stub: WandbStub, local: WandbRun, epochs: int) -> None:
    """The server has every row that the local file has, and the file has every epoch."""
    run = stub.runs[local.id]
    assert len(run.history) == len(local.history)
    for name in ("train/loss", "val/elbo"):
        values = [row[name] for row in local.history if name in row]
        assert len(values) == epochs
        assert [row[name] for row in run.history if name in row] == values
    assert run.summary["test/elbo"] == local.summary["test/elbo"]
    assert run.exit_code == local.exit_code == 0


def assert_offline(result: Result, record: dict[str, Any], problem: str) -> None:
    """Trained to the end, offline, and said why."""
    wandb = record["wandb"]
    assert record["status"] == "finished"
    assert (wandb["mode"], wandb["requested"], wandb["url"]) == ("offline", "online", None)
    assert problem in wandb["problem"]
    assert "\n" not in wandb["problem"]
    assert f"wandb sync {result.outputs / 'wandb'}" in wandb["problem"]
    assert wandb["problem"] in result.out + result.err
    assert "Traceback" not in result.out + result.err


def test_the_same_arrives(tmp_path):
    with WandbStub() as stub, wandb_home(tmp_path / "home", **stub.environ, WANDB_PROJECT="mine"):
        result = trained(tmp_path, "logger=wandb", "logger.mode=online", "model.latent_dim=3")
    assert set(stub.unknown) <= {"OrganizationCoreWeaveOrganizationID"}  # the SDK does without an answer
    [run] = stub.runs.values()
    record = result.record
    assert (run.id, run.name, run.project) == (record["wandb"]["id"], "beta_vae-digits", "mine")
    url = f"{stub.url}/loopback/mine/runs/{run.id}"
    assert record["wandb"] == {
        "id": run.id,
        "project": "mine",
        "entity": "loopback",
        "mode": "online",
        "requested": "online",
        "folder": str(tmp_path / "wandb"),
        "url": url,
        "problem": None,
    }
    assert result.out.count(url) == 2  # before the training and after it
    assert sorted(run.tags) == ["beta_vae", "digits"]
    assert (run.config["beta"], run.config["model"]["latent_dim"]) == (4, 3)
    assert {name for row in run.history for name in row} >= HISTORY
    for name in ("test/elbo", "test/rate", "test/mse"):
        assert run.summary[name] == pytest.approx(record["metrics"][name], rel=1e-6)
    pictures = {
        Path(name).parent.name + "/" + Path(name).stem.rsplit("_", 2)[0]
        for name in run.files
        if "media" in name
    }
    assert pictures == {
        *(
            f"samples/{name}"
            for name in (
                *("prior", "density", "reconstructions", "traversals", "arithmetic"),
                *("interpolations", "interpolations_spherical", "traversals_animated"),
            )
        ),
        *(f"latents/{name}" for name in ("kl_per_dim", "kl_over_training", "map")),
    }
    assert run.exit_code == 0


# no server from the beginning


def test_without_a_login_the_run_is_offline(tmp_path):
    with wandb_home(tmp_path / "home"):
        result = trained(tmp_path, *ONLINE, *LEAN)
    assert_offline(result, result.record, "wandb login")
    [run] = read_runs(tmp_path / "wandb")
    assert run.id == result.record["wandb"]["id"]
    assert (run.exit_code, run.summary["status"]) == (0, "finished")


@pytest.mark.slow
def test_with_a_refused_key_the_run_is_offline(tmp_path):
    with WandbStub(refuse_key=True) as stub, wandb_home(tmp_path / "home", **stub.environ):
        result = trained(tmp_path, "logger=wandb", *LEAN)  # WANDB_MODE=online decides
    assert_offline(result, result.record, "user is not logged in")
    [run] = read_runs(tmp_path / "wandb")
    assert run.id == result.record["wandb"]["id"]
    assert not list(tmp_path.glob("wandb/run-*"))  # of the attempt nothing is left
    assert_all_there(sync(tmp_path / "wandb", tmp_path / "home"), run, epochs=1)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_unreachable_server_is_waited_for_once_in_a_process(tmp_path, closed_port, monkeypatch):
    tried = []
    init = wandb_run.wandb.init
    monkeypatch.setattr(wandb_run.wandb, "init", lambda **given: tried.append(given["mode"]) or init(**given))
    with WandbStub() as stub:
        environ = {**stub.environ, "WANDB_BASE_URL": closed_port}
    with wandb_home(tmp_path / "home", **environ):
        for job in "ab":
            result = trained(tmp_path, *ONLINE, *LEAN, f"hydra.run.dir={tmp_path}/runs/{job}")
            assert_offline(result, read_record(tmp_path / "runs" / job), "connection refused")
    assert tried == ["online", "offline", "offline"]
    runs = read_runs(tmp_path / "wandb")
    assert [run.id for run in runs] == [read_record(tmp_path / "runs" / job)["wandb"]["id"] for job in "ab"]
    assert not list(tmp_path.glob("wandb/run-*"))
    stub = sync(tmp_path / "wandb", tmp_path / "home")
    assert len(stub.runs) == 2
    for run in runs:
        assert_all_there(stub, run, epochs=1)


@pytest.mark.timeout(120)
def test_a_server_that_never_answers(tmp_path, silent_server):
    with WandbStub() as stub:
        environ = {**stub.environ, "WANDB_BASE_URL": silent_server}
    with wandb_home(tmp_path / "home", **environ):
        result = trained(tmp_path, *ONLINE, *LEAN)
    assert_offline(result, result.record, "Timed out")
    [run] = read_runs(tmp_path / "wandb")
    assert len([row for row in run.history if "val/elbo" in row]) == 1
    assert run.exit_code == 0


def test_what_w_and_b_refuses_offline_too_is_a_mistake(tmp_path):
    with wandb_home(tmp_path / "home"):
        result = small(tmp_path, *ONLINE, *LEAN, "logger.project='a/b'")
    assert result.code == 2
    assert "Traceback" not in result.err + result.out
    assert "a/b" in result.err
    assert result.record["status"] == "failed"


# a server that goes away in the middle


def broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: Callable[[WandbStub], object]
) -> tuple[Result, WandbStub, float]:
    """A run of four epochs with `action` in the middle, its server, and the seconds it took after that."""
    began = []
    with WandbStub() as stub, wandb_home(tmp_path / "home", **stub.environ):
        monkeypatch.setattr(AtEpoch, "action", lambda: (began.append(time.monotonic()), action(stub)))
        at = "+callbacks.at._target_=support.at_epoch.AtEpoch"
        result = trained(tmp_path, *ONLINE, "callbacks.samples=null", "trainer.max_epochs=4", at)
        seconds = time.monotonic() - began[0]
    return result, stub, seconds


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("action", "problem"),
    [
        (WandbStub.stop, "the upload did not complete: Timed out finishing run"),
        (
            lambda stub: setattr(stub, "refuse_key", True),
            "the upload did not complete: Fatal error while uploading data",
        ),
    ],
    ids=["gone", "refuses the key"],
)
def test_a_server_that_goes_away_in_the_middle(tmp_path, monkeypatch, action, problem):
    result, stub, seconds = broken_off(tmp_path, monkeypatch, action)
    assert seconds < 20  # wandb's own: minutes
    wandb = result.record["wandb"]
    assert (wandb["mode"], wandb["requested"]) == ("online", "online")
    assert wandb["url"].startswith(stub.url)
    assert wandb["problem"].startswith(problem)
    [folder] = (tmp_path / "wandb").glob("run-*")
    command = f"wandb sync --include-online {folder}"
    assert command in wandb["problem"]
    assert (result.folder / "run.log").read_text().count(command) == 1
    assert stub.runs[wandb["id"]].exit_code is None
    local = read_run(folder)
    assert_all_there(sync(folder, tmp_path / "home", "--include-online"), local, epochs=4)
    assert_all_there(sync(folder, tmp_path / "home", *AGAIN, into=stub), local, epochs=4)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_process_that_uploads_is_killed(tmp_path, monkeypatch):
    result, _, seconds = broken_off(tmp_path, monkeypatch, lambda stub: kill_wandb_core())
    assert seconds < 20
    wandb = result.record["wandb"]
    assert wandb["problem"].startswith("logging failed: ")
    assert (result.folder / "run.log").read_text().count(wandb["problem"]) == 1
    assert (result.folder / "latents/kl_over_training.png").is_file()
    [folder] = (tmp_path / "wandb").glob("run-*")
    assert len([row for row in read_run(folder).history if "val/elbo" in row]) == 1
    with wandb_home(tmp_path / "home"):  # the next run of the process has another
        assert small(tmp_path, "logger=wandb", *LEAN, "name=next").code == 0
    [run] = read_runs(tmp_path / "wandb")
    assert (run.name, run.exit_code) == ("next", 0)


def kill_wandb_core() -> None:
    """End this process's own W&B service."""
    time.sleep(2.5)  # what has been logged is flushed every two seconds
    processes = [thing for thing in gc.get_objects() if type(thing) is subprocess.Popen]
    [core] = [one for one in processes if "wandb-core" in str(one.args) and one.poll() is None]
    core.kill()
    core.wait()


# one run in several sessions


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_an_interrupted_run_goes_on_as_the_same_run(tmp_path, mode):
    arguments = (
        *("logger=wandb", f"logger.mode={mode}", "trainer.max_epochs=4", f"hydra.run.dir={tmp_path}/runs/a"),
        *(*LEAN, "+callbacks.stop._target_=support.stopper.Stop"),
    )
    with WandbStub() as stub, wandb_home(tmp_path / "home", **stub.environ):
        Stop.at("train_epoch_start", 3)
        first = small(tmp_path, *arguments)
        assert first.code == 130
        before = first.record
        after = trained(tmp_path, *arguments, "logger.tags=[again]").record
    assert after["wandb"]["id"] == before["wandb"]["id"]
    assert after["sessions"][-1]["from"] == "checkpoint"
    if mode == "offline":
        assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 2
        stub = sync(tmp_path / "wandb", tmp_path / "home")
    [run] = stub.runs.values()
    assert run.id == after["wandb"]["id"]
    assert [row["epoch"] for row in run.history if "val/elbo" in row] == [0, 1, 2, 3]
    assert [row["_step"] for row in run.history] == list(range(len(run.history)))
    assert run.summary["test/elbo"] == pytest.approx(after["metrics"]["test/elbo"], rel=1e-6)
    assert run.exit_code == 0


def test_the_run_that_a_sweep_agent_names_is_joined(tmp_path):
    agent = {
        "WANDB_SWEEP_ID": "abcd1234",
        "WANDB_RUN_ID": "fromagent",
        "WANDB_PROJECT": "theirs",
        "WANDB_ENTITY": "loopback",
        "WANDB_RUN_GROUP": "their-group",
    }
    with WandbStub() as stub, wandb_home(tmp_path / "home", **stub.environ, **agent):
        result = trained(tmp_path, *ONLINE, *LEAN, "logger.project=ours")
    [run] = stub.runs.values()
    assert (run.id, run.project, run.group) == ("fromagent", "theirs", "their-group")
    assert (result.record["wandb"]["id"], result.record["wandb"]["project"]) == ("fromagent", "theirs")
    assert result.record["wandb"]["problem"] is None


# the run's own object


class Broken:
    """Stands for a `wandb.Run`: every call fails."""

    id, project, entity, url, dir = "abc", "p", "e", "http://there", "/here/run-1/files"

    def __init__(self) -> None:
        self.summary, self.calls = self, 0

    def log(self, *_: Any) -> None:
        self.calls += 1
        raise ConnectionResetError("the service has gone\nand more")

    update = __setitem__ = alert = log

    def finish(self, exit_code: int) -> None:
        self.log()


def test_no_call_raises_and_the_first_failure_is_said_once(tmp_path, caplog):
    broken = Broken()
    run = wandb_run.SteadyRun(broken, "online", "online", tmp_path, None)
    run.log({"a": 1})
    run.summary.update({"a": 1})
    run.summary["a"] = 1
    run.alert("title", "text")
    run.finish(exit_code=1)
    assert broken.calls == 5
    assert run.facts["problem"] == (
        "logging failed: ConnectionResetError: the service has gone. What was logged until then is on disk; "
        "upload it with: wandb sync --include-online /here/run-1"
    )
    assert len(caplog.records) == 1
    assert run.url == "http://there"
    with pytest.raises(AttributeError):
        _ = run.there_is_no_such_thing
