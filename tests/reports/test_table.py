"""The table: rows, columns, blanks."""

import csv
import io

import pytest
from sweeps_of_records import beta_sweep, make_record, table_of

from vaelab.reports.columns import as_csv, as_dicts, as_text, columns, details
from vaelab.reports.findings.groups import comparable_groups
from vaelab.reports.statistics import fold


def cells(table, header, **options):
    """What the column shows, from the top."""
    (column,) = [column for column in columns(table, **options) if column.header == header]
    return [column.cell(row) for row in table.rows]


def test_seeds_are_folded_and_betas_ascend():
    table = table_of(*reversed(beta_sweep(seeds=3)))
    assert table.columns == ("model.beta",)
    assert [row.beta for row in table.rows] == [0.25, 0.5, 1.0, 2.0, 8.0]
    assert cells(table, "n") == ["3"] * 5
    assert table.rows[0].stats["test/rate"] == fold([14.0, 14.02, 14.04])
    assert cells(table, "rate")[0] == "14.02 ±0.05"  # t(2) 4.303 * 0.02 / sqrt(3)
    assert list(table.series) == list(table.beta_series) == ["beta_vae"]


def test_no_fold_is_a_row_per_run():
    table = table_of(*beta_sweep(seeds=2), folded=False)
    assert table.columns == ("model.beta", "seed")
    assert len(table.rows) == 10
    assert table.rows[0].stats["test/rate"].half is None
    assert list(table.series) == list(table.beta_series) == ["seed 0", "seed 1"]
    assert "n" not in [column.header for column in columns(table)]


def test_a_rerun_of_a_seed_is_no_further_sample():
    early = make_record(1, 0, rate=3.0, started="2026-01-01")
    late = make_record(1, 0, rate=4.0, started="2026-01-02")
    crashed = make_record(1, 0, started="2026-01-03", status="failed", metrics={})
    table = table_of(early, crashed, late, make_record(1, 1, rate=6.0))
    assert table.rows[0].n == 2
    assert table.rows[0].mean("test/rate") == 5.0
    assert len(table.repeats) == 2


def test_an_unswept_setting_becomes_a_column_where_it_tells_rows_apart():
    slow, fast = make_record(1, swept={}), make_record(1, swept={})
    fast["config"]["optimizer"]["lr"] = 0.01
    table = table_of(slow, fast)
    assert table.columns == ("optimizer.lr",)
    assert [row.label for row in table.rows] == ["lr 0.001", "lr 0.01"]


@pytest.mark.parametrize("key", ["threads", "data.root", "paths.outputs", "callbacks.samples.every_n_epochs"])
def test_what_does_not_bear_on_the_result_separates_no_rows(key):
    here, there = make_record(1, 0), make_record(1, 1)
    there["config"][key] = "elsewhere"
    assert [row.n for row in table_of(here, there).rows] == [2]


def test_betas_that_differ_in_another_setting_too_are_no_sweep_of_beta():
    one, two = make_record(1), make_record(2)
    two["config"]["optimizer"]["lr"] = 0.01
    assert table_of(one, two).beta_series == {}


def test_undefined_is_blank():
    table = table_of(
        make_record(None, rate=None, swept={"model": "ae"}), make_record(1, swept={"model": "beta_vae"})
    )
    assert cells(table, "model") == ["ae", "beta_vae"]
    assert cells(table, "rate") == ["", "3.00"]
    assert cells(table, "distortion") == ["20.00", "20.00"]
    for text in (as_text(table), as_csv(table)):
        assert "nan" not in text
        assert "None" not in text


def test_failed_and_unfinished_runs_have_their_row():
    failed = make_record(2, status="failed", metrics={}, config=None)
    table = table_of(make_record(1), failed, make_record(4, status="running", metrics={}))
    assert cells(table, "status") == ["", "failed", "interrupted"]
    assert cells(table, "n") == ["1", "0", "0"]


def test_csv_has_every_metric_in_full():
    table = table_of(*beta_sweep(seeds=2), make_record(16))
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [float(row["model.beta"]) for row in rows] == [0.25, 0.5, 1, 2, 8, 16]
    expected = fold([14.0, 14.02])
    assert float(rows[0]["test/rate"]) == expected.mean
    assert float(rows[0]["test/rate_ci95"]) == expected.half
    assert float(rows[0]["val/mse"]) == 0.0421
    assert rows[0]["runs"] == "sweep/00;sweep/01"
    assert (rows[-1]["test/rate"], rows[-1]["test/rate_ci95"]) == ("3.0", "")
    assert as_dicts(table)[-1]["test/rate_ci95"] is None


def test_the_validation_split_has_its_own_numbers():
    record = make_record(1)
    record["metrics"]["val/rate"] = 7.5
    assert cells(table_of(record, split="val"), "rate") == ["7.50"]


HEALTH = {
    "mutual_information_low": 2.5,
    "mutual_information_high": 2.9,
    "total_correlation_high": 0.25,
    "hole_rate": 0.0125,
    "shuffle_gap": 11.0,
}


def test_health_and_evaluations_have_tables_of_their_own_and_the_headlines_are_in_the_first():
    healthy, gone = make_record(1, more=HEALTH), make_record(2, more=HEALTH | {"active_units": 0.0})
    for record in (healthy, gone):
        record["metrics"] |= {"eval/fid_prior": 13.4, "eval/fid_prior_se": 0.2}
    table = table_of(healthy, gone)
    headers = [column.header for column in columns(table)]
    numbers = ["rate", "distortion", "ELBO", "active units", "MI", "hole rate / perfect", "mse"]
    assert headers == ["beta", "n", "verdict", *numbers]  # the verdict is in view, however many follow
    assert cells(table, "verdict") == ["healthy", "collapsed (no active unit)"]
    assert cells(table, "hole rate / perfect")[0] == "0.013"
    health, evaluation = details(table)
    names = [[column.header for column in part.columns] for part in (health, evaluation)]
    assert names == [
        ["beta", "n", "MI", "TC", "hole rate / perfect", "shuffle gap"],
        ["beta", "n", "fid_prior"],
    ]
    assert [evaluation.columns[-1].cell(row) for row in table.rows] == ["13.40 (0.20)"] * 2
    assert details(table_of(make_record(1))) == []


def test_how_good_reconstructions_look_has_a_table_of_its_own():
    quality = {"psnr": 19.4321, "psnr_se": 0.0519, "ssim": 0.81234, "ssim_se": 0.0021}
    table = table_of(make_record(1, more=quality))
    assert not {"psnr", "ssim"} & {column.key for column in columns(table)}
    (part,) = details(table)
    assert [column.header for column in part.columns] == ["beta", "n", "PSNR (dB)", "SSIM"]
    assert [column.cell(table.rows[0]) for column in part.columns[2:]] == ["19.43 (0.05)", "0.812 (0.002)"]
    assert as_dicts(table)[0]["test/ssim_se"] == 0.0021


def test_seeds_that_differ_in_their_verdict_are_counted():
    records = [make_record(1, seed, more={"active_units": units}) for seed, units in enumerate((4, 4, 0))]
    assert cells(table_of(*records), "verdict") == ["2 healthy, 1 collapsed (no active unit)"]


def on_images(digest, beta=1, seed=0, **data):
    record = make_record(beta, seed, dataset="npz")
    record["config"]["data"] = {"path": "mine.npz", **data}
    return record if digest is None else record | {"data": {"sha256": digest}}


def test_other_images_under_one_name_are_another_configuration():
    first, second = "a" * 64, "b" * 64
    table = table_of(*(on_images(digest, beta) for digest in (first, second) for beta in (1, 2)))
    assert table.columns == ("model.beta", "data.sha256")
    assert [row.n for row in table.rows] == [1] * 4
    assert {len(rows) for rows in comparable_groups(table).values()} == {2}
    mixed = table_of(on_images(first, 1), on_images(second, 2))
    assert mixed.beta_series == {}
    assert len(comparable_groups(mixed)) == 2


def test_the_same_images_and_those_of_older_records_are_one_configuration():
    same = [on_images("a" * 64, seed=seed) for seed in (0, 1)]
    assert [row.n for row in table_of(*same).rows] == [2]
    assert [row.n for row in table_of(*same, on_images(None, seed=2)).rows] == [3]
    sizes = table_of(on_images("a" * 64, train_size=10), on_images("b" * 64, train_size=20))
    assert "data.sha256" not in sizes.columns
    assert len(comparable_groups(sizes)) == 1  # the digest of a subset differs by itself


def test_variant_and_data_have_columns_where_they_differ():
    """Of folders that no sweep has put together: every variant's beta differs, and says nothing."""
    vae = make_record(1, swept={}, variant="vae")
    other, far = make_record(4, swept={}), make_record(1, swept={}, variant="vae", dataset="sprites")
    table = table_of(vae, other)
    assert table.columns == ("model",)
    assert [row.label for row in table.rows] == ["vae", "beta_vae"]
    mixed = table_of(vae, far)
    assert mixed.columns == ("data",)
    assert [row.label for row in table_of(vae, other, far).rows] == [
        "vae, digits", "beta_vae, digits", "vae, sprites",
    ]  # fmt: skip


def test_the_mean_over_seeds_has_no_seed_in_its_name():
    seeds = [make_record(1, seed, swept={"seed": seed}, name=f"vae-digits-seed{seed}") for seed in range(2)]
    assert cells(table_of(*seeds), "run") == ["beta_vae-digits"]
    assert cells(table_of(seeds[0]), "run") == ["vae-digits-seed0"]
