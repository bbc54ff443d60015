"""Runs and sweeps are found by name, by folder and by time, by one rule for all commands."""

import os

import pytest

from vaelab.errors import UserError
from vaelab.runs.find import find_all, locate, newest_sweep, record_folders, sweep_records
from vaelab.runs.lock import beat
from vaelab.runs.record import SCHEMA, write_record


def write(folder, **more):
    write_record(folder, {"schema": SCHEMA, "status": "finished", **more})
    return folder


def test_a_name_is_a_path_a_sweep_or_a_run(tmp_path):
    sweep = write(tmp_path / "sweeps" / "digits-beta" / "00").parent
    run = write(tmp_path / "runs" / "one")
    assert find_all(["digits-beta", "one", str(run)], tmp_path) == [sweep, run, run]
    with pytest.raises(UserError, match="Did you mean 'digits-beta'"):
        locate("digits-bta", tmp_path)


def test_the_newest_sweep_is_the_one_in_which_anything_was_written_last(tmp_path):
    one, other = (write(tmp_path / "sweeps" / name / "00").parent for name in ("one", "other"))
    (one / "multirun.yaml").touch()  # a command has just begun, without a record
    for time, file in ((2, one / "multirun.yaml"), (1, one / "00" / "results.json")):
        os.utime(file, (time, time))
    os.utime(other / "00" / "results.json", (1, 1))
    assert newest_sweep(tmp_path) == one
    assert find_all([], tmp_path) == [one]
    beat(other / "00", epoch=1)
    assert newest_sweep(tmp_path) == other
    with pytest.raises(UserError, match="There is no sweep in"):
        newest_sweep(tmp_path / "nowhere")


def test_records_lie_in_a_run_in_a_sweep_or_in_its_sweeps(tmp_path):
    folders = [write(tmp_path / "a" / name) for name in ("2-x", "10-x")]
    for path in (tmp_path / "a", tmp_path):
        assert record_folders(path) == folders
    for path in (folders[0], folders[0] / "results.json"):
        assert record_folders(path) == folders[:1]


def test_the_records_of_a_sweep_come_in_the_order_of_the_jobs_without_the_unreadable(tmp_path):
    for name in ("01-beta2", "00-beta1", "10-beta3"):
        write(tmp_path / name, name=name)
    (tmp_path / "02-beta4").mkdir()
    (tmp_path / "02-beta4" / "results.json").write_text("{")
    records = sweep_records(tmp_path)
    assert [record["name"] for record in records] == ["00-beta1", "01-beta2", "10-beta3"]
    assert records[0]["folder"] == tmp_path / "00-beta1"
