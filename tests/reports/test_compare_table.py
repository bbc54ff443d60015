"""The table: rows, columns, blanks."""

import csv
import io
from typing import Any

from compare_builders import beta_sweep, make_record

from vaelab.reports.records import read_runs
from vaelab.reports.statistics import fold
from vaelab.reports.table import as_csv, as_markdown, as_text, build_table, cells_as_text, details


def table_of(folder, **options):
    return build_table(read_runs([folder]).runs, **options)


def test_seeds_are_folded_and_betas_ascend(sweep):
    table = table_of(sweep(*reversed(beta_sweep(seeds=3))))
    assert table.columns == ("model.beta",)
    assert [row.beta for row in table.rows] == [0.25, 0.5, 1.0, 2.0, 8.0]
    assert [row.n for row in table.rows] == [3] * 5
    assert table.rows[0].stats["test/rate"] == fold([14.0, 14.02, 14.04])
    assert table.rows[0].series == "beta_vae"


def test_no_fold_is_a_row_a_run(sweep):
    table = table_of(sweep(*beta_sweep(seeds=2)), folded=False)
    assert table.columns == ("model.beta", "seed")
    assert len(table.rows) == 10
    assert table.rows[0].stats["test/rate"].half is None
    assert list(table.series) == ["seed 0", "seed 1"]


def test_a_rerun_of_a_seed_is_no_further_sample(sweep):
    early = make_record(1, 0, rate=3.0, started="2026-01-01")
    late = make_record(1, 0, rate=4.0, started="2026-01-02")
    crashed = make_record(1, 0, started="2026-01-03", status="failed", metrics={})
    table = table_of(sweep(early, crashed, late, make_record(1, 1, rate=6.0)))
    assert table.rows[0].n == 2
    assert table.rows[0].mean("test/rate") == 5.0
    assert len(table.repeats) == 2


def test_an_unswept_setting_becomes_a_column_where_it_tells_rows_apart(sweep):
    slow, fast = make_record(1, swept={}), make_record(1, swept={})
    fast["config"]["optimizer"]["lr"] = 0.01
    table = table_of(sweep(slow, fast))
    assert table.columns == ("optimizer.lr",)
    assert [row.label for row in table.rows] == ["lr 0.001", "lr 0.01"]


def test_undefined_is_blank_and_beta_too(sweep):
    table = table_of(
        sweep(
            make_record(None, rate=None, swept={"model": "ae"}), make_record(1, swept={"model": "beta_vae"})
        )
    )
    header, rows = cells_as_text(table)
    row = dict(zip(header, rows[0], strict=True))
    assert row["model"] == "ae"
    assert (row["rate"], row["ELBO"], row["distortion"]) == ("", "", "20.00")
    assert "nan" not in as_text(table) + as_csv(table)
    assert "None" not in as_text(table) + as_csv(table)


def test_failed_and_unfinished_runs_have_their_row(sweep):
    failed = make_record(2, status="failed", metrics={}, config=None)
    table = table_of(sweep(make_record(1), failed, make_record(4, status="running", metrics={})))
    header, rows = cells_as_text(table)
    assert [row[header.index("status")] for row in rows] == ["", "failed", "interrupted"]
    assert [row[header.index("n")] for row in rows] == ["1", "0", "0"]


def test_csv_has_every_metric_in_full(sweep):
    table = table_of(sweep(*beta_sweep(seeds=2)))
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [float(row["model.beta"]) for row in rows] == [0.25, 0.5, 1, 2, 8]
    expected = fold([14.0, 14.02])
    assert float(rows[0]["test/rate"]) == expected.mean
    assert float(rows[0]["test/rate_ci95"]) == expected.half
    assert float(rows[0]["val/mse"]) == 0.0421
    assert rows[0]["n"] == "2"
    assert rows[0]["runs"].count(";") == 1


def test_a_single_seed_has_no_interval_in_the_csv(sweep):
    (row,) = csv.DictReader(io.StringIO(as_csv(table_of(sweep(make_record(1))))))
    assert row["test/rate"] == "3.0"
    assert row["test/rate_ci95"] == ""


def test_the_validation_split_has_its_own_numbers(sweep):
    record = make_record(1)
    record["metrics"]["val/rate"] = 7.5
    table = table_of(sweep(record), split="val")
    assert table.number(table.rows[0], "rate") == 7.5


def test_markdown_keeps_its_columns():
    text = as_markdown(["a", "b"], [["x|y", "two\nlines"]])
    assert text.splitlines() == ["| a | b |", "| --- | --- |", "| x\\|y | two lines |"]


def with_health(beta: float, hole_rate: float, **changes: Any) -> dict[str, Any]:
    record = make_record(beta, **changes)
    record["metrics"] |= {
        "test/mutual_information": 2.5,
        "test/total_correlation": 0.25,
        "test/hole_rate": hole_rate,
        "test/shuffle_gap": 11.0,
        "eval/fid_prior": 13.4,
        "eval/fid_prior_se": 0.2,
    }
    return record


def test_health_has_a_table_of_its_own_and_the_headlines_stand_in_the_first(sweep):
    folder = sweep(with_health(1, 0.0125), with_health(2, 0.02, rate=0.3))
    table = table_of(folder)
    header, rows = cells_as_text(table)
    assert header[-5:] == ["active units", "MI", "hole rate", "mse", "verdict"]
    assert [row[-1] for row in rows] == ["healthy", "collapsed"]
    assert rows[0][-3] == "0.013"
    (health, _, metrics, split), (evaluation, _, evaluated, prefix) = details(table)
    assert (health, split, evaluation, prefix) == ("Latent health", "test", "Evaluation", "eval")
    assert metrics == ["mutual_information", "total_correlation", "hole_rate", "shuffle_gap"]
    assert evaluated == ["fid_prior"]
    header, rows = cells_as_text(table, evaluated, prefix)
    assert header[-1] == "fid_prior"  # the verdict is of the test images
    assert [row[-1] for row in rows] == ["13.40", "13.40"]


def test_seeds_that_differ_in_their_verdict_are_counted(sweep):
    folder = sweep(
        with_health(1, 0.01, seed=0), with_health(1, 0.01, seed=1), with_health(1, 0.01, seed=2, rate=0.1)
    )
    [row] = table_of(folder).rows
    assert row.verdict("test") == "2 healthy, 1 collapsed"
    assert row.verdict("val") == "2 healthy, 1 collapsed"


def test_without_health_there_are_no_such_tables(sweep):
    assert details(table_of(sweep(make_record(1)))) == []
