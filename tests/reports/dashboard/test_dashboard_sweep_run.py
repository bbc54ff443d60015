"""The summary run of a sweep: read back from its offline file, and seen by a stub of the server."""

import csv
import json
import logging
from pathlib import Path

import pytest
from dashboard_runs import Logged
from PIL import Image

from cli_runner import small
from support.wandb_files import media_paths, read_run, read_runs
from support.wandb_home import wandb_home
from support.wandb_stub import WandbStub
from vaelab.reports import findings as words
from vaelab.reports.dashboard.panels import COMPARISON_PICTURES, COMPARISON_TABLE
from vaelab.reports.dashboard.sweep_run import log_sweep
from vaelab.reports.records import read_runs as read_records
from vaelab.reports.table import build_table
from vaelab.runs.find import sweep_records


def test_it_lies_beside_the_jobs(logged: Logged):
    run, sweep = logged.summary, logged.result.sweep
    assert run.path.parent == logged.result.outputs / "wandb"
    assert str(run.path) == logged.where
    assert (run.group, run.job_type, run.name) == (sweep.name, "sweep", f"{sweep.name}-summary")
    assert {training.group for training in logged.training} == {run.group}
    assert (run.project, run.tags, run.exit_code) == ("here", ["mine"], 0)


def test_its_config_is_what_was_swept(logged: Logged):
    assert logged.summary.config == {
        "sweep": logged.result.sweep.name,
        "swept": {"model.beta": [0.5, 4], "optimizer.lr": [1e-3, 1e9]},
        "variant": ["beta_vae"],
        "dataset": ["digits"],
    }


def test_its_table_is_the_comparisons(logged: Logged):
    run = logged.summary
    file = run.path / "files" / run.summary[COMPARISON_TABLE]["path"]
    logged_table = json.loads(file.read_text())
    with (logged.result.sweep / "report" / "table.csv").open(newline="") as csv_file:
        header, *rows = csv.reader(csv_file)
    assert logged_table["columns"] == header
    assert len(logged_table["data"]) == len(rows) == 4
    elbo = header.index("test/elbo")
    for ours, theirs in zip(logged_table["data"], rows, strict=True):
        assert ours[elbo] == (float(theirs[elbo]) if theirs[elbo] else None)
        assert ours[-1] == theirs[-1]  # the runs' folders
    assert len([row for row in logged_table["data"] if row[elbo] is not None]) == 2


def test_every_picture_of_the_report_is_there(logged: Logged):
    run, report = logged.summary, logged.result.sweep / "report"
    assert {f"comparison/{file.stem}" for file in report.glob("*.png")} == set(COMPARISON_PICTURES)
    [row] = run.history
    assert set(COMPARISON_PICTURES) | {COMPARISON_TABLE} <= set(row)
    sizes = set()
    for file in media_paths(run):
        with Image.open(file) as picture:
            sizes.add(picture.size)
    for file in report.glob("*.png"):
        with Image.open(file) as picture:
            assert picture.size in sizes


def test_its_summary_is_what_was_found(logged: Logged):
    summary, sweep = logged.summary.summary, logged.result.sweep
    counts = {name: summary[f"comparison/{name}"] for name in ("runs", "finished", "failed")}
    assert counts == {"runs": 4, "finished": 2, "failed": 2}
    elbos = {
        record["beta"]: record["metrics"]["test/elbo"]
        for record in sweep_records(sweep)
        if record["status"] == "finished"
    }
    beta = max(elbos, key=lambda beta: elbos[beta])
    assert summary["comparison/best_beta"] == beta
    assert summary["comparison/best_elbo"] == pytest.approx(elbos[beta])
    findings = words.findings(build_table(read_records([sweep]).runs))
    assert summary["comparison/findings"] == " ".join(findings)


def test_the_same_sweep_again_is_the_same_run(logged: Logged, tmp_path):
    sweep = logged.result.sweep
    with wandb_home(tmp_path / "home"):
        where = log_sweep(sweep, sweep_records(sweep)[:2])  # as if it had grown since
    runs = read_runs(logged.result.outputs / "wandb")
    assert where != logged.where
    assert len({run.id for run in runs if run.job_type == "sweep"}) == 1
    assert logged.summary.id not in {run.id for run in logged.training}


@pytest.mark.parametrize("settings", [("logger=none",), ("logger=csv",)])
def test_without_wandb_there_is_none(tmp_path, wandb_offline, settings):
    result = small(tmp_path, "-m", "model.beta=1,2", "callbacks=none", *settings)
    assert log_sweep(result.sweep, sweep_records(result.sweep)) is None
    assert not list(tmp_path.rglob("*.wandb"))


def test_disabled_there_is_none(tmp_path):
    with wandb_home(tmp_path / "home", WANDB_MODE="disabled"):
        result = small(tmp_path / "outputs", "-m", "model.beta=1,2", "callbacks=none", "logger=wandb")
        assert log_sweep(result.sweep, sweep_records(result.sweep)) is None
    assert not list(tmp_path.rglob("*.wandb"))


def test_what_goes_wrong_is_a_warning(logged: Logged, tmp_path, caplog, monkeypatch):
    def broken(**_: object) -> None:
        raise RuntimeError("the disk is full\nand more")

    monkeypatch.setattr("wandb.init", broken)
    with caplog.at_level(logging.WARNING):
        assert log_sweep(logged.result.sweep, sweep_records(logged.result.sweep)) is None
    assert caplog.messages == ["W&B: the sweep's summary run failed: RuntimeError: the disk is full"]


def test_a_sweep_without_a_report_is_a_warning(logged: Logged, tmp_path, caplog):
    with wandb_home(tmp_path / "home"), caplog.at_level(logging.WARNING):
        assert log_sweep(tmp_path, sweep_records(logged.result.sweep)) is None
    [said] = [entry for entry in caplog.records if entry.name.startswith("vaelab")]
    assert said.getMessage().startswith("W&B: the sweep's summary run failed: UserError: ")
    assert "\n" not in said.getMessage()


@pytest.mark.slow
def test_online_a_second_time_goes_on(tmp_path):
    with WandbStub() as stub, wandb_home(tmp_path / "home", **stub.environ):
        result = small(
            tmp_path / "outputs", "-m", "model.beta=1,2", "callbacks=none", "logger=wandb", "group=ours"
        )
        assert result.code == 0, result.err
        records = sweep_records(result.sweep)
        urls = {log_sweep(result.sweep, records) for _ in range(2)}
    [run] = [run for run in stub.runs.values() if run.job_type == "sweep"]
    assert len(stub.runs) == 3
    assert len(urls) == 1
    assert urls.pop().endswith(f"/runs/{run.id}")
    assert (run.group, run.name, run.exit_code) == ("ours", "ours-summary", 0)
    assert run.notes.startswith("2 finished runs")
    assert "comparison/rate-distortion" in run.summary
    assert run.summary["comparison/runs"] == 2


@pytest.mark.slow
def test_without_the_server_it_is_offline(tmp_path):
    with WandbStub() as stub, wandb_home(tmp_path / "home", **stub.environ):
        settings = ("logger=wandb", "logger.init_timeout=2", "logger.finish_timeout=2")
        result = small(tmp_path / "outputs", "-m", "model.beta=1,2", "callbacks=none", *settings)
        assert result.code == 0, result.err
        jobs = {run.id for run in stub.runs.values() if run.job_type == "train"}
        stub.stop()
        where = log_sweep(result.sweep, sweep_records(result.sweep))
    assert where is not None
    run = read_run(Path(where))
    assert run.id not in jobs
    assert (run.group, run.exit_code) == (result.sweep.name, 0)
    assert COMPARISON_TABLE in run.summary
