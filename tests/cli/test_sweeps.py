"""The end of a sweep, from records alone."""

from pathlib import Path

import pytest

from vaelab.cli.sweep import single_summary, summary, sweep_table, wandb_lines
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
    header, rule, *rows = table.splitlines()
    assert set(rule) <= {"-", " "}
    return [row.split() for row in (header, *rows)]


def test_a_row_for_each_record_with_its_swept_values():
    table = cells(
        sweep_table(
            [record(swept={"model.beta": 1, "seed": 0}), record(swept={"model.beta": 2.5, "seed": 0})]
        )
    )
    assert table[0] == ["beta", "seed", "rate", "distortion", "ELBO", "active", "units"]
    assert table[1] == ["1", "0", "1.50", "40.25", "-41.75", "3"]
    assert table[2] == ["2.50", "0", "1.50", "40.25", "-41.75", "3"]


def test_what_is_undefined_is_blank_under_its_heading():
    undefined = {"test/rate": None, "test/distortion": 44.0, "test/elbo": None, "test/active_units": 10}
    table = sweep_table([record(swept={"model": "ae"}, metrics=undefined), record(swept={"model": "vae"})])
    assert cells(table)[1] == ["ae", "44.00", "10"]
    header, _, ae, vae = table.splitlines()
    assert ae.index("44.00") == vae.index("40.25")
    assert ae[: header.index("distortion")].split() == ["ae"]


def test_a_failed_job_has_its_row_and_no_numbers():
    table = cells(
        sweep_table(
            [record(swept={"model.beta": 1}), record(swept={"model.beta": -1}, status="failed", metrics={})]
        )
    )
    assert table[1][-1] == "finished"
    assert table[2] == ["-1", "failed"]


def test_a_key_that_some_jobs_lack_is_blank():
    table = cells(sweep_table([record(swept={"seed": 1}), record(swept={"seed": 2, "model.beta": 4})]))
    assert table[0][:2] == ["seed", "beta"]
    assert table[1][0] == "1"
    assert table[2][:2] == ["2", "4"]


def test_without_anything_swept_the_runs_have_their_names():
    assert cells(sweep_table([record()]))[1][0] == "vae-digits"


def test_the_summary_says_why_a_job_failed_and_where_all_is():
    failed = record(status="failed", error="model.beta=-1 does not fit", folder=Path("sweep/01-beta-1"))
    text = summary(Path("sweep"), [record(), failed])
    assert "01-beta-1 failed: model.beta=-1 does not fit" in text
    assert "sweep/*/samples/*.png" in text
    assert "W&B" not in text


def test_undefined_numbers_of_a_single_run_are_blank():
    undefined = {
        "test/rate": float("nan"),
        "test/distortion": 44.0,
        "test/elbo": float("nan"),
        "test/active_units": 10.0,
    }
    text = single_summary(Path("run"), record(metrics=undefined))
    assert "nan" not in text
    assert cells("\n".join(text.splitlines()[:3]))[1] == ["vae-digits", "44.00", "10"]
    assert "run/samples/*.png" in text


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("offline", ["W&B, offline: out/wandb", "wandb sync out/wandb", "wandb leet out/wandb"]),
        ("online", ["W&B: https://wandb.ai/1", "W&B: https://wandb.ai/2"]),
        ("disabled", []),
    ],
)
def test_wandb_is_named_once_for_all_runs(mode, expected):
    runs = [
        {"mode": mode, "folder": "out/wandb", "url": f"https://wandb.ai/{n}" if mode == "online" else None}
        for n in (1, 2)
    ]
    lines = wandb_lines([record(wandb=run) for run in runs] + [record()])
    assert len(lines) == len(expected)
    assert all(line.endswith(words) for line, words in zip(lines, expected, strict=True))
