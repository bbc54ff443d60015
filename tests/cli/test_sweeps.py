"""The end of a sweep, from records alone."""

import math
import os
from pathlib import Path

import pytest

from vaelab.cli.sweep import side_by_side, single_summary, summary, sweep_table, wandb_lines
from vaelab.runs.record import SCHEMA


def record(**changes: object) -> dict:
    metrics = {"test/rate": 1.5, "test/distortion": 40.25, "test/elbo": -41.75, "test/active_units": 3.0}
    return {
        "schema": SCHEMA,
        "status": "finished",
        "error": None,
        "name": "vae-digits",
        "swept": {},
        "metrics": metrics,
        "wandb": None,
        "folder": Path("sweep/00"),
        **changes,
    }


def cells(table: str) -> list[list[str]]:
    """The table without its rule."""
    header, _, *rows = table.splitlines()
    return [row.split() for row in (header, *rows)]


def test_a_row_for_each_record_with_its_swept_values():
    table = cells(sweep_table([record(swept={"seed": 0}), record(swept={"seed": 0, "model.beta": 2.5})]))
    assert table[0] == ["seed", "beta", "rate", "distortion", "ELBO", "active", "units"]
    assert table[1] == ["0", "1.50", "40.25", "-41.75", "3"]  # a key that some jobs lack is blank
    assert table[2] == ["0", "2.50", "1.50", "40.25", "-41.75", "3"]


def test_what_is_undefined_is_blank_under_its_heading():
    undefined = {"test/rate": None, "test/distortion": 44.0, "test/elbo": math.nan, "test/active_units": 10}
    header, _, ae, vae = sweep_table([record(metrics=undefined), record()]).splitlines()
    assert ae.split() == ["vae-digits", "44.00", "10"]  # the run's name where nothing is swept
    assert ae.index("44.00") == vae.index("40.25") == header.index("distortion") + 5


def test_a_failed_job_has_its_row_and_no_numbers():
    records = [record(swept={"model.beta": 1}), record(swept={"model.beta": -1}, status="failed", metrics={})]
    assert cells(sweep_table(records))[1][-1] == "finished"
    assert cells(sweep_table(records))[2] == ["-1", "failed"]


def test_the_summary_says_why_a_job_failed_and_where_all_is():
    failed = record(status="failed", error="model.beta=-1 does not fit", folder=Path("sweep/01-beta-1"))
    text = summary(Path("sweep"), [record(), failed])
    assert "01-beta-1 failed: model.beta=-1 does not fit" in text
    assert text.endswith("Runs: sweep/")
    assert "W&B" not in text


@pytest.mark.parametrize(
    ("files", "pictures"),
    [
        (["samples/prior.png", "latents/map.png"], " (pictures in samples/ and latents/)"),
        (["latents/map.png"], " (pictures in latents/)"),
        ([], ""),
    ],
)
def test_a_single_run_says_its_verdict_and_where_all_is(tmp_path, files, pictures):
    for file in files:
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    text = single_summary(tmp_path, record(verdict={"label": "healthy", "reason": "all are active"}))
    assert "healthy: all are active" in text
    assert text.endswith(f"Run: {tmp_path}/{pictures}")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (
            "offline",
            ["W&B, offline: `wandb leet out/wandb` shows the runs, `wandb sync out/wandb` sends them"],
        ),
        ("online", ["W&B: https://wandb.ai/me/p (group mine)"]),
        ("disabled", []),
    ],
)
def test_wandb_is_named_once_for_all_runs(mode, expected):
    url = "https://wandb.ai/me/p/runs/{}" if mode == "online" else None
    runs = [
        {"mode": mode, "folder": os.path.abspath("out/wandb"), "url": url and url.format(n)} for n in (1, 2)
    ]
    assert wandb_lines([record(wandb=run, group="mine") for run in runs] + [record()]) == expected


def test_a_single_online_run_has_its_address_and_what_went_wrong_is_said_once():
    wandb = {"mode": "online", "folder": "x", "url": "https://wandb.ai/me/p/runs/1", "problem": "It is away."}
    expected = ["W&B: It is away.", "W&B: https://wandb.ai/me/p/runs/1"]
    assert wandb_lines([record(wandb=wandb)]) == wandb_lines([record(wandb=wandb)] * 2) == expected


@pytest.mark.parametrize(
    ("seconds", "cores", "said"),
    [([20, 20], 2, True), ([5, 5], 2, False), ([40], 2, False), ([20, 20], 1, False)],
)
def test_a_long_sweep_of_jobs_in_turn_says_how_they_run_side_by_side(seconds, cores, said):
    records = [record(timing={"fit_seconds": value}) for value in seconds]
    assert bool(side_by_side(records, cores)) is said
