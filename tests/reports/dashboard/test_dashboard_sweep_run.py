"""The summary run of a sweep: read back from its offline file, and seen by a stub of the server."""

import csv
import json
import logging
from pathlib import Path

import pytest
from PIL import Image

from cli_runner import small
from support.wandb_files import media_paths, read_run, read_runs
from support.wandb_home import wandb_home
from support.wandb_stub import WandbStub
from vaelab.reports import explorer, records
from vaelab.reports.dashboard.panels import COMPARISON_PICTURES, COMPARISON_TABLE
from vaelab.reports.dashboard.sweep_run import log_sweep
from vaelab.reports.findings import findings
from vaelab.reports.sheets import SHEETS
from vaelab.reports.table import build_table
from vaelab.runs.find import sweep_records


def test_it_lies_beside_the_jobs(logged):
    run, sweep = logged.summary, logged.result.sweep
    assert run.path.parent == logged.result.outputs / "wandb"
    assert str(run.path) == logged.where
    assert (run.group, run.job_type, run.name) == (sweep.name, "sweep", f"{sweep.name}-summary")
    assert {training.group for training in logged.training} == {run.group}
    assert run.config["swept"] == {"model.beta": [0.5, 4], "optimizer.lr": [1e-3, 1e9]}
    assert (run.project, run.tags, run.exit_code) == ("here", ["mine"], 0)


def test_its_table_is_the_comparisons(logged):
    run = logged.summary
    table = json.loads((run.path / "files" / run.summary[COMPARISON_TABLE]["path"]).read_text())
    with (logged.result.sweep / "report" / "table.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert table["columns"] == header
    elbo = header.index("test/elbo")
    cells = [(str(row[elbo] or ""), row[-1]) for row in table["data"]]  # the last are the runs' folders
    assert cells == [(row[elbo], row[-1]) for row in rows]
    assert sum(bool(cell) for cell, _ in cells) == 2


def test_every_picture_of_the_report_is_there(logged):
    run, pictures = logged.summary, list((logged.result.sweep / "report").glob("*.png"))
    assert {f"comparison/{file.stem}" for file in pictures} == set(COMPARISON_PICTURES)
    [row] = run.history
    assert set(COMPARISON_PICTURES) | {COMPARISON_TABLE} <= set(row)
    assert {size(file) for file in pictures} <= set(map(size, media_paths(run)))


def size(file):
    with Image.open(file) as picture:
        return picture.size


def test_the_jobs_have_drawn_what_the_report_shows_of_them_and_no_more(logged):
    finished = [r["folder"] for r in sweep_records(logged.result.sweep) if r["status"] == "finished"]
    assert len(finished) == 2
    for folder in finished:
        drawn = {
            str(file.relative_to(folder)) for file in folder.glob("*/*") if file.suffix in (".png", ".gif")
        }
        assert drawn == {sheet.file for sheet in SHEETS} | {explorer.FILE}


def test_its_summary_is_what_was_found(logged):
    summary, sweep = logged.summary.summary, logged.result.sweep
    counts = {name: summary[f"comparison/{name}"] for name in ("runs", "finished", "failed")}
    assert counts == {"runs": 4, "finished": 2, "failed": 2}
    finished = [record for record in sweep_records(sweep) if record["status"] == "finished"]
    best = max(finished, key=lambda record: record["metrics"]["val/elbo"])
    assert summary["comparison/best_beta"] == best["beta"]
    assert summary["comparison/best_elbo"] == pytest.approx(best["metrics"]["test/elbo"])
    sentences = findings(build_table(records.read_runs([sweep]).runs))
    assert summary["comparison/findings"] == " ".join(sentences)


def test_the_same_sweep_again_is_the_same_run(logged, tmp_path):
    sweep = logged.result.sweep
    with wandb_home(tmp_path / "home"):
        where = log_sweep(sweep, sweep_records(sweep)[:2])  # as if it had grown since
    runs = read_runs(logged.result.outputs / "wandb")
    assert where != logged.where
    assert len({run.id for run in runs if run.job_type == "sweep"}) == 1
    assert logged.summary.id not in {run.id for run in logged.training}


@pytest.mark.parametrize("logger", ["none", "wandb"])
def test_without_wandb_there_is_none(tmp_path, logger):
    with wandb_home(tmp_path / "home", WANDB_MODE="disabled"):
        result = small(tmp_path / "outputs", "-m", "model.beta=1,2", "callbacks=none", f"logger={logger}")
        assert log_sweep(result.sweep, sweep_records(result.sweep)) is None
    assert not list(tmp_path.rglob("*.wandb"))


def test_an_error_is_a_warning(logged, caplog, monkeypatch):
    def fail(**_):
        raise RuntimeError("the disk is full\nand more")

    monkeypatch.setattr("wandb.init", fail)
    with caplog.at_level(logging.WARNING):
        assert log_sweep(logged.result.sweep, sweep_records(logged.result.sweep)) is None
    assert caplog.messages == ["W&B: the sweep's summary run failed: RuntimeError: the disk is full"]


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
