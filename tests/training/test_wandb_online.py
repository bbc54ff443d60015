"""W&B online, against a stub of the server: what arrives, and what remains if the server is away or dies."""

import logging
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cli_runner import Result, read_record, small, trained
from support.at_epoch import AtEpoch
from support.stopper import Stop
from support.wandb_files import WandbRun, read_run, read_runs
from support.wandb_home import wandb_home
from support.wandb_stub import WandbStub
from vaelab.runs import wandb_run

ONLINE = ("logger=wandb", "logger.mode=online", "logger.init_timeout=1", "logger.finish_timeout=1")
LEAN = ("callbacks.samples=null", "callbacks.kl_pictures=null", "callbacks.latent_map=null")


def sync(folder: Path, home: Path, *options: str, into: WandbStub | None = None) -> WandbStub:
    """Run `wandb sync` against a new server, or against one that remembers what `into` received."""
    with WandbStub() as stub, wandb_home(home, **stub.environ):
        stub.runs = into.runs if into else {}
        command = [sys.executable, "-m", "wandb", "sync", *options, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return stub


def assert_nothing_lost(stub: WandbStub, local: WandbRun, epochs: int) -> None:
    """The local file has every epoch, and the server every row of the file."""
    run = stub.runs[local.id]
    for name in ("train/loss", "val/elbo"):
        values = [row[name] for row in local.history if name in row]
        assert len(values) == epochs
        assert [row[name] for row in run.history if name in row] == values
    assert len(run.history) == len(local.history)
    assert run.summary["test/elbo"] == local.summary["test/elbo"]
    assert run.exit_code == local.exit_code == 0


def assert_offline(result: Result, record: dict[str, Any], problem: str) -> None:
    """The training ended well, offline, and the record and the log say why and how to upload it."""
    facts = record["wandb"]
    assert record["status"] == "finished"
    assert (facts["mode"], facts["requested"], facts["url"]) == ("offline", "online", None)
    assert problem in facts["problem"]
    assert "\n" not in facts["problem"]
    assert f"wandb sync {result.outputs / 'wandb'}" in facts["problem"]
    assert facts["problem"] in result.out + result.err
    assert "Traceback" not in result.out + result.err


def test_the_same_arrives(tmp_path):
    with WandbStub() as stub, wandb_home(tmp_path / "home", **stub.environ, WANDB_PROJECT="mine"):
        result = trained(tmp_path, "logger=wandb", "logger.mode=online", "model.latent_dim=3")
    assert set(stub.unknown) <= {"OrganizationCoreWeaveOrganizationID"}  # the SDK does without an answer
    [run] = stub.runs.values()
    record = result.record
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
    assert (run.name, run.project, sorted(run.tags)) == ("vae-digits", "mine", ["digits", "vae"])
    assert (run.config["beta"], run.config["model"]["latent_dim"]) == (1, 3)
    [local] = [read_run(path) for path in tmp_path.glob("wandb/run-*")]
    assert_nothing_lost(stub, local, epochs=1)
    for name in ("test/elbo", "test/rate", "test/mse"):
        assert run.summary[name] == pytest.approx(record["metrics"][name], rel=1e-6)
    sent = {Path(name).name for name in run.files if "media" in name}
    assert sent == {path.name for path in (local.path / "files" / "media").rglob("*.*")} != set()


# no server from the beginning


def test_without_a_login_the_run_is_offline(tmp_path):
    with wandb_home(tmp_path / "home"):
        result = trained(tmp_path, *ONLINE, *LEAN)
    assert_offline(result, result.record, "wandb login")
    [run] = read_runs(tmp_path / "wandb")
    assert run.id == result.record["wandb"]["id"]
    assert (run.exit_code, run.summary["status"]) == (0, "finished")


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("kind", "problem"),
    [("closed", "does not answer"), ("silent", "does not answer"), ("refusing", "user is not logged in")],
)
def test_a_sweep_without_a_server_is_offline(tmp_path, monkeypatch, kind, problem):
    asked = []
    ask = urllib.request.urlopen
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda url, **options: asked.append(url) or ask(url, **options)
    )
    with WandbStub(refuse_key=kind == "refusing") as stub, socket.create_server(("127.0.0.1", 0)) as silent:
        environ = stub.environ
        if kind == "closed":
            stub.stop()
        if kind == "silent":  # it accepts connections and never answers
            environ["WANDB_BASE_URL"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with wandb_home(tmp_path / "home", **environ):
            for job in "ab":
                result = trained(tmp_path, *ONLINE, *LEAN, f"hydra.run.dir={tmp_path}/runs/{job}")
                assert_offline(result, read_record(tmp_path / "runs" / job), problem)
    assert len(asked) == 1  # the second job does not wait again
    assert not list(tmp_path.glob("wandb/run-*"))
    runs = read_runs(tmp_path / "wandb")
    assert [run.id for run in runs] == [read_record(tmp_path / "runs" / job)["wandb"]["id"] for job in "ab"]
    stub = sync(tmp_path / "wandb", tmp_path / "home")
    assert len(stub.runs) == 2
    for run in runs:
        assert_nothing_lost(stub, run, epochs=1)


def test_a_server_that_answers_but_refuses_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(WandbStub, "answer_UpsertBucket", None)
    with WandbStub() as stub, wandb_home(tmp_path / "home", **stub.environ):
        run = wandb_run.start_run(tmp_path, "online", "mine", project="p")
        run.log({"a": 1})
        run.finish()
    assert (run.facts["mode"], run.facts["id"]) == ("offline", "mine")
    assert "does not know UpsertBucket" in run.facts["problem"]
    [local] = read_runs(tmp_path / "wandb")
    assert (local.id, local.history[0]["a"], local.exit_code) == ("mine", 1, 0)


def test_settings_that_w_and_b_refuses_offline_too_are_a_mistake(tmp_path):
    with wandb_home(tmp_path / "home"):
        result = small(tmp_path, *ONLINE, *LEAN, "logger.project='a/b'")
    assert result.code == 2
    assert "Traceback" not in result.err + result.out
    assert "a/b" in result.err
    assert not list(tmp_path.glob("runs/*"))


# a server that goes away during the run


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["gone", "silent", "refusing"])
def test_a_server_that_goes_away_during_the_run(tmp_path, monkeypatch, kind, capfd):
    monkeypatch.setitem(wandb_run.SETTINGS, "x_graphql_timeout_seconds", 1.0)  # the run ends with an alert
    monkeypatch.setitem(wandb_run.SETTINGS, "x_graphql_retry_max", 1)
    with WandbStub() as stub, wandb_home(tmp_path / "home", **stub.environ):
        actions = {"gone": stub.stop, "silent": stub.freeze, "refusing": stub.refuse_the_key}
        monkeypatch.setattr(AtEpoch, "action", actions[kind])
        at = "+callbacks.at._target_=support.at_epoch.AtEpoch"
        result = trained(tmp_path, *ONLINE, *LEAN, "trainer.max_epochs=4", at)
    facts = result.record["wandb"]
    assert (facts["mode"], facts["url"]) == ("online", f"{stub.url}/loopback/vaelab/runs/{facts['id']}")
    [folder] = (tmp_path / "wandb").glob("run-*")
    if kind == "refusing":  # W&B says so itself, on the terminal alone
        assert "Some run data will not be synced" in result.err + capfd.readouterr().err
    else:
        assert facts["problem"].startswith("TimeoutError: Timed out finishing run")
        command = f"wandb sync --include-online {folder}"
        assert command in facts["problem"]
        assert (result.folder / "run.log").read_text().count(command) == 1
    assert stub.runs[facts["id"]].exit_code is None
    local = read_run(folder)
    assert_nothing_lost(sync(folder, tmp_path / "home", "--include-online"), local, epochs=4)
    again = ("--include-online", "--include-synced")
    assert_nothing_lost(sync(folder, tmp_path / "home", *again, into=stub), local, epochs=4)


@pytest.mark.timeout(60)
def test_an_alert_that_cannot_be_sent_does_not_hold_up_the_end(tmp_path, monkeypatch):
    monkeypatch.setitem(
        wandb_run.SETTINGS, "x_graphql_retry_max", 1
    )  # W&B's own 20 take longer than this test
    with WandbStub() as stub, wandb_home(tmp_path / "home", **stub.environ):
        run = wandb_run.start_run(tmp_path, "online", finish_timeout=1, project="p")
        stub.stop()
        run.log({"a": 1})
        run.alert(title="Posterior collapse", text="no active units", level="WARN")
        run.finish()
    assert "Timed out finishing run" in run.facts["problem"]
    [folder] = (tmp_path / "wandb").glob("run-*")
    local = read_run(folder)
    assert (local.history[0]["a"], local.alerts[0]["title"]) == (1, "Posterior collapse")


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


# a W&B run whose process has died


class Broken:
    """Stands for a `wandb.Run` whose every call fails."""

    id, project, entity, url, dir = "abc", "p", "e", "http://there", "/here/run-1/files"

    def log(self, *_: Any, **__: Any) -> None:
        raise ConnectionResetError("the service has gone\nand more")

    alert = update = define_metric = finish = log

    @property
    def summary(self) -> "Broken":
        return self


def test_no_call_raises_and_the_first_failure_is_noted_once(tmp_path, caplog):
    with wandb_home(tmp_path), caplog.at_level(logging.WARNING):
        run = wandb_run.FailsafeRun(Broken(), "online", "online", tmp_path)
        run.define_metric("a")
        run.log({"a": 1})
        run.update_summary({"a": 1})
        run.alert(title="title", text="text")
        run.finish(exit_code=1)
    assert run.facts["problem"] == (
        "ConnectionResetError: the service has gone. What was logged is on disk; "
        "upload it with: wandb sync --include-online /here/run-1"
    )
    assert len(caplog.records) == 1
