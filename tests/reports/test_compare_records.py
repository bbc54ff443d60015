"""Reading: any state, any schema, and what can't be read is named."""

import json

import pytest
from compare_builders import make_record

from vaelab.errors import UserError
from vaelab.reports.records import read_history, read_runs


def test_a_sweep_and_a_run_of_it_are_read_once(sweep):
    folder = sweep(make_record(1), make_record(2))
    reading = read_runs([folder, folder / "01", folder / "00" / "results.json"])
    assert [run.beta for run in reading.runs] == [1.0, 2.0]
    assert reading.problems == []


def test_jobs_are_in_the_order_of_their_numbers(sweep, tmp_path):
    folder = sweep(make_record(1))
    for number in (100, 11):
        (folder / f"{number}-x").mkdir()
        (folder / f"{number}-x" / "results.json").write_text(json.dumps(make_record(number)))
    assert [run.beta for run in read_runs([folder]).runs] == [1.0, 11.0, 100.0]


@pytest.mark.parametrize(
    "text", ['{"schema": 1, "sta', "[]", "{}", "", '{"schema": 1, "metrics": [3]}', b"\xff\xfe\x00"]
)
def test_a_broken_record_is_named_and_skipped(sweep, text):
    folder = sweep(make_record(1), make_record(2))
    (folder / "00" / "results.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    reading = read_runs([folder])
    assert [run.beta for run in reading.runs] == [2.0]
    assert len(reading.problems) == 1
    assert "00: skipped" in reading.problems[0]


def test_an_older_record_lacks_keys(sweep):
    folder = sweep({"schema": 0, "metrics": {"test/elbo": -3.0}, "config": {"model": {"beta": 2}}})
    (run,) = read_runs([folder]).runs
    assert (run.status, run.beta, run.name, run.variant) == ("finished", 2.0, "00", "unknown")
    assert run.number("test/elbo") == -3.0
    assert run.number("test/rate") is None


def test_a_newer_record_is_read_as_far_as_it_is_known(sweep):
    reading = read_runs([sweep(make_record(1, schema=99, something_new={"x": 1}))])
    assert reading.runs[0].number("test/rate") == 3.0
    assert "schema 99" in reading.problems[0]


def test_only_finite_numbers_are_numbers(sweep):
    folder = sweep(make_record(1))
    record = make_record(1)
    record["metrics"] |= {
        "test/elbo": float("nan"),
        "test/rate": "3",
        "test/mse": True,
        "test/kl_per_dim": [1.0, None],
    }
    (folder / "00" / "results.json").write_text(json.dumps(record))  # NaN, as another writer may leave it
    (run,) = read_runs([folder]).runs
    assert [run.number(f"test/{name}") for name in ("elbo", "rate", "mse")] == [None] * 3
    assert run.vector("test/kl_per_dim") is None


def test_a_job_that_left_no_record_is_named(sweep):
    folder = sweep(make_record(1))
    (folder / "01" / ".hydra").mkdir(parents=True)
    assert "01: left no record" in read_runs([folder]).problems[0]


def test_jobs_that_wait_are_named(sweep):
    folder = sweep(make_record(1))
    (folder / "00").rename(folder / "00-beta1")
    plan = "hydra: {sweeper: {params: null}, overrides: {task: ['model.beta=1,2,4']}}"
    (folder / "multirun.yaml").write_text(plan)
    assert read_runs([folder]).problems == [f"{folder}: not begun yet: 01-beta2, 02-beta4"]


def test_a_folder_without_records_is_an_error(tmp_path):
    with pytest.raises(UserError, match="holds no record"):
        read_runs([tmp_path])


def test_one_of_several_folders_without_records_is_named(sweep, tmp_path):
    (tmp_path / "empty").mkdir()
    reading = read_runs([tmp_path / "empty", sweep(make_record(1))])
    assert [run.beta for run in reading.runs] == [1.0]
    assert reading.problems == [f"{tmp_path / 'empty'}: holds no record of a run"]


def test_histories_have_blanks_and_may_be_missing_or_broken(sweep):
    folder = sweep(make_record(1), make_record(2))
    (folder / "00" / "history.csv").write_text("step,epoch,train/loss,val/elbo\n5,0,9.5,\n10,1,nan,-8\n")
    (folder / "01" / "history.csv").write_bytes(b"\xff\xfe\x00")
    first, second = read_runs([folder]).runs
    assert read_history(first) == {"train/loss": ([1.0], [9.5]), "val/elbo": ([2.0], [-8.0])}
    assert read_history(second) == {}
