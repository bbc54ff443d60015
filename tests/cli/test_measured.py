"""The table at the end of vaelab-evaluate, on records made for it."""

from pathlib import Path

import pytest

from vaelab.cli.measured import NOTE, WIDTH, measured_table, numbers, places

METRICS = {
    "fid": 13.3961,
    "fid_se": 0.2211,
    "kid": None,
    "kid_se": None,
    "vector": [1.0],
    "phase_se": 2.0,
    "information_low": 1.9041,
    "information_high": 2.31699,
    "tail_low": 3.0,
}


def record(folder="sweep/00", metrics=METRICS, **more):
    return {"folder": Path(folder), "evaluation": {"one": {"metrics": metrics}}, **more}


def test_a_number_has_its_error_and_a_range_both_ends():
    assert numbers(record(), ["one", "udr"]) == {
        "fid": "13.4 (0.22)",
        "kid": "",
        "phase_se": "2",
        "information": "1.904 to 2.317",
        "tail_low": "3",
    }


def test_of_one_run_each_number_has_a_line():
    lines = measured_table([record(f"runs/{'long' * 9}")], ["one"]).splitlines()
    assert lines[0] == "number       longlonglonglonglon…"
    assert lines[2].split() == ["fid", "13.4", "(0.22)"]
    assert lines[-1] == NOTE
    assert len(lines) == 2 + 5 + 1


@pytest.mark.parametrize("runs", [1, 4, 5, 25])
@pytest.mark.parametrize("many", [1, 30])
def test_every_number_of_every_run_stands_in_100_columns(runs, many):
    metrics = {f"metric_{i}": 1000 + i for i in range(many)}
    records = [
        record(f"sweep/{i:02d}-beta{i}", {k: v + 100 * i for k, v in metrics.items()}) for i in range(runs)
    ]
    text = measured_table(records, ["one"])
    assert max(map(len, text.splitlines())) <= WIDTH
    shown = [int(word) for line in text.splitlines() for word in line.split() if word.isdigit()]
    assert sorted(shown) == sorted(1000 + i + 100 * run for i in range(many) for run in range(runs))


def test_other_evaluations_and_none_are_no_table():
    assert measured_table([record()], ["two"]) == ""
    assert measured_table([], ["one"]) == ""


def test_the_end_says_where_the_numbers_are(tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/multirun.yaml").touch()
    records = [record(tmp_path / "sweep/00"), record(tmp_path / "sweep/01", wandb={"mode": "offline"})]
    single = record(tmp_path / "runs/mine")
    lines = places([*records, single], logged=True)
    assert [line.split(" (")[0] for line in lines] == [
        f"Numbers: {tmp_path}/sweep/*/results.json",
        f"Numbers: {tmp_path}/runs/mine/results.json",
        "W&B: the runs' summaries, as eval/...",
        f"Report: {tmp_path}/sweep/report/report.html",
        f"Report: vaelab-compare {tmp_path}/runs/mine writes one.",
    ]
    assert not any("W&B" in line for line in places(records, logged=False))
