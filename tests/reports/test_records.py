"""Reading records of any state and schema; what cannot be read is named."""

import json
from pathlib import Path

import pytest
from sweeps_of_records import make_record, write_sweep

from vaelab.errors import UserError
from vaelab.reports.records import as_run, read_history, read_runs


def betas(*paths: Path) -> list[float | None]:
    return [run.beta for run in read_runs(paths).runs]


def test_a_sweep_and_a_run_of_it_are_read_once_in_the_order_of_their_numbers(tmp_path):
    write_sweep(tmp_path, make_record(1), make_record(2))
    for number in (100, 11):
        (tmp_path / f"{number}-x").mkdir()
        (tmp_path / f"{number}-x" / "results.json").write_text(json.dumps(make_record(number)))
    assert betas(tmp_path, tmp_path / "01", tmp_path / "00" / "results.json") == [1, 2, 11, 100]
    assert read_runs([tmp_path]).problems == []


@pytest.mark.parametrize(
    "text", [b'{"schema": 1, "sta', b"[]", b"{}", b"", b'{"schema": 1, "metrics": [3]}', b"\xff\xfe\x00"]
)
def test_a_broken_record_is_named_and_skipped(tmp_path, text):
    write_sweep(tmp_path, make_record(1), make_record(2))
    (tmp_path / "00" / "results.json").write_bytes(text)
    assert betas(tmp_path) == [2]
    (problem,) = read_runs([tmp_path]).problems
    assert "00: skipped" in problem


def test_an_older_record_lacks_keys_and_a_newer_one_has_more(tmp_path):
    old = {"schema": 0, "metrics": {"test/elbo": -3.0}, "config": {"model": {"beta": 2}}}
    write_sweep(tmp_path, old, make_record(1, schema=99, something_new={"x": 1}))
    (first, second), problems = read_runs([tmp_path]).runs, read_runs([tmp_path]).problems
    assert (first.status, first.beta, first.name, first.variant) == ("finished", 2.0, "00", "unknown")
    assert (first.number("test/elbo"), first.number("test/rate")) == (-3.0, None)
    assert second.number("test/rate") == 3.0
    assert "schema 99" in problems[0]


def test_only_finite_numbers_are_numbers():
    run = as_run(
        make_record(more={"elbo": float("nan"), "rate": "3", "mse": True, "kl_per_dim": [1.0, None]}),
        Path("x"),
    )
    assert [run.number(f"test/{name}") for name in ("elbo", "rate", "mse")] == [None] * 3
    assert run.vector("test/kl_per_dim") is None


@pytest.mark.parametrize(
    ("weight", "beta"),
    [(4.0, 4.0), (1.0, None), ({"_target_": "vaelab.models.RampSchedule", "stop": 4.0}, None)],
    ids=["the KL's weight", "another term's", "a schedule's end"],
)
def test_the_beta_of_an_older_record_counts_where_it_is_the_weight_of_the_kl(weight, beta):
    record = make_record(4.0)
    record["config"]["model"]["objective"] = {"kl": {"weight": weight}, "tc": {"beta": 4.0}}
    assert as_run(record, Path("x")).beta == beta


def test_jobs_without_a_record_and_jobs_that_wait_are_named(tmp_path):
    write_sweep(tmp_path, make_record(1))
    (tmp_path / "00").rename(tmp_path / "00-beta1")
    (tmp_path / "01-beta2" / ".hydra").mkdir(parents=True)
    plan = "hydra: {sweeper: {params: null}, overrides: {task: ['model.beta=1,2,4']}}"
    (tmp_path / "multirun.yaml").write_text(plan)
    assert read_runs([tmp_path]).problems == [
        f"{tmp_path / '01-beta2'}: left no record (results.json)",
        f"{tmp_path}: not begun yet: 02-beta4",
    ]


def test_a_folder_without_records_is_an_error_and_one_of_several_is_named(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="holds no record"):
        read_runs([empty])
    reading = read_runs([empty, write_sweep(tmp_path / "sweep", make_record(1))])
    assert len(reading.runs) == 1
    assert reading.problems == [f"{empty}: holds no record of a run"]


def test_histories_have_blanks_and_may_be_missing_or_broken(tmp_path):
    write_sweep(tmp_path, make_record(1), make_record(2), make_record(3))
    (tmp_path / "00" / "history.csv").write_text("step,epoch,train/loss,val/elbo\n5,0,9.5,\n10,1,nan,-8\n")
    (tmp_path / "01" / "history.csv").write_bytes(b"\xff\xfe\x00")
    first, *others = read_runs([tmp_path]).runs
    metrics = ["val/elbo", "train/loss", "val/rate"]
    assert read_history(first, metrics) == {"train/loss": ([1.0], [9.5]), "val/elbo": ([2.0], [-8.0])}
    assert read_history(first, metrics[:1]) == {"val/elbo": ([2.0], [-8.0])}
    assert [read_history(run, metrics) for run in others] == [{}, {}]
