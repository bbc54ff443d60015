"""What the cells of a comparison show."""

import pytest
from sweeps_of_records import make_record, sentence, table_of

from vaelab.reports.cells import (
    bracket,
    show_bracket,
    show_hole_rate,
    show_measured,
    show_size,
    show_vector,
    show_verdict,
)
from vaelab.reports.columns import as_dicts, as_text, columns, details, table_note
from vaelab.reports.plots import PLOTS, constant_distortion, half_widths

MI = "test/mutual_information"


def record(seed=0, **metrics):
    return make_record(1, seed=seed, more=metrics)


def test_a_range_is_its_middle_and_half_width():
    row = table_of(record(mutual_information_low=4.7, mutual_information_high=5.5)).rows[0]
    assert show_bracket(row, MI) == "5.10 ±0.40"


def test_a_range_over_seeds_adds_the_interval_of_the_middles_to_the_mean_half_width():
    one = record(0, mutual_information_low=1.0, mutual_information_high=2.0)  # 1.5 ± 0.5
    two = record(1, mutual_information_low=1.5, mutual_information_high=3.5)  # 2.5 ± 1.0
    stat = bracket(table_of(one, two).rows[0], MI)
    # the middles: s / sqrt(2) = 0.5, t(1) = 12.706
    assert (stat.mean, stat.half, stat.n) == (2.0, pytest.approx(0.75 + 6.3531, abs=1e-4), 2)


def test_the_groups_of_a_hierarchy_have_a_table_of_their_own():
    one = record(0, kl_per_group=[0.5, 3.0], active_units_per_group=[4.0, 5.0])
    two = record(1, kl_per_group=[0.25, 2.0], active_units_per_group=[4.0, 6.0])
    table = table_of(one, two)
    assert show_vector(table.rows[0], "test/kl_per_group") == "0.38 / 2.50"
    [layers] = [detail for detail in details(table) if detail.name == "layers"]
    shown = {column.header: column.cell(table.rows[0]) for column in layers.columns}
    assert shown["KL"] == "0.38 / 2.50"
    assert shown["active units"] == "4 / 5.50"
    other = table_of(one, record(1, kl_per_group=[1.0, 1.0, 1.0]))
    assert show_vector(other.rows[0], "test/kl_per_group") == ""
    assert not any(detail.name == "layers" for detail in details(table_of(record(0))))
    assert not any(name.endswith("_per_group") for name in as_dicts(table)[0])


def test_a_record_without_both_ends_has_no_range():
    assert show_bracket(table_of(record(mutual_information=5.0)).rows[0], MI) == ""
    assert show_bracket(table_of(record(mutual_information_low=5.0)).rows[0], MI) == ""


def test_a_single_seed_has_its_standard_error_and_several_the_interval_over_seeds():
    one, two = record(0, hole_rate=0.025, hole_rate_se=0.004), record(1, hole_rate=0.025, hole_rate_se=0.004)
    assert show_measured(table_of(one).rows[0], "test/hole_rate") == "0.025 (0.004)"
    assert show_measured(table_of(one, two).rows[0], "test/hole_rate") == "0.025 ±0"


def test_a_pruned_run_says_how_many_dimensions_are_active():
    pruned = record(active_units=1.0, shuffle_gap=5.0, shuffle_gap_se=0.5, kl_per_dim=[2.0, 0.0])
    assert show_verdict(table_of(pruned).rows[0], "test") == "pruned (1 of 2)"


def test_a_verdict_stands_with_the_number_that_decided_it_and_not_with_the_rate():
    """As of a sigma_vae with a rate of 5.20, whose decoder ignores the code."""

    def ignored(seed, gap):
        return make_record(1, seed, rate=5.2, more={"shuffle_gap": gap, "shuffle_gap_se": 0.21})

    one, other = ignored(0, 0.37), ignored(1, 0.12)
    assert show_verdict(table_of(one).rows[0], "test") == "collapsed (shuffle gap 0.37 ± 0.21)"
    assert show_verdict(table_of(one, other).rows[0], "test") == "collapsed"  # which of the two gaps?
    assert sentence([one, other], "Collapsed").endswith(
        "beta 1 (shuffle gap 0.37 ± 0.21, shuffle gap 0.12 ± 0.21, 2 of 2 seeds)."
    )


def test_the_curve_starts_at_the_constant_output_if_the_runs_agree_on_it():
    table = table_of(record(0, constant_distortion=40.0))
    assert constant_distortion(table, table.rows) == 40.0
    axes = PLOTS[0].draw(table).axes[0]
    assert any(line.get_xydata().tolist() == [[0.0, 40.0]] for line in axes.lines)
    assert axes.get_xlim()[0] < 0
    assert axes.get_ylim()[1] > 40.0
    other = make_record(4, more={"constant_distortion": 50.0})
    both = table_of(record(0, constant_distortion=40.0), other)
    assert constant_distortion(both, both.rows) is None


def test_a_hole_rate_stands_beside_that_of_a_model_without_holes():
    more = {"hole_rate": 0.0245, "hole_rate_se": 0.0042, "hole_rate_null": 0.0127}
    assert show_hole_rate(table_of(record(**more)).rows[0], "test/hole_rate") == "0.025 (0.004) / 0.013"
    assert show_hole_rate(table_of(record(hole_rate=0.5)).rows[0], "test/hole_rate") == "0.500"
    assert show_hole_rate(table_of(record(hole_rate_null=0.0127)).rows[0], "test/hole_rate") == ""


def test_a_size_has_no_error():
    table = table_of(record(0, elbo_draws=24.0), record(1, elbo_draws=29.0))
    assert show_size(table.rows[0], "test/elbo_draws") == "24-29"
    assert show_size(table_of(record(0, elbo_draws=24.0)).rows[0], "test/elbo_draws") == "24"
    assert show_size(table.rows[0], "test/aggregate_images") == ""


NUMBERS = {
    "elbo_se": 0.14,
    "rate_se": 0.06,
    "elbo_draws": 24.0,
    "elbo_mc_se": 0.01,
    "objective": 23.0,
    "objective_se": 0.15,
    "mutual_information_low": 2.0,
    "mutual_information_high": 2.4,
    "hole_rate": 0.02,
    "hole_rate_se": 0.004,
    "hole_rate_null": 0.0127,
    "constant_distortion": 27.0,
    "constant_distortion_se": 0.1,
}


def test_what_belongs_to_another_number_has_no_column_of_its_own_but_is_in_the_csv_file():
    table = table_of(record(**NUMBERS))
    headers = [column.header for column in columns(table)]
    main = ["verdict", "rate", "distortion", "ELBO", "active units", "MI", "hole rate / perfect"]
    assert headers[-9:] == [*main, "mse", "objective"]
    (row,) = as_dicts(table)
    assert {name: row[f"test/{name}"] for name in NUMBERS} == NUMBERS
    assert "test/mutual_information" not in row
    assert "-23.00 (0.14)" in as_text(table)


@pytest.mark.parametrize(
    ("seeds", "metrics", "parts"),
    [
        (1, {}, []),
        (2, {}, ["over seeds and its"]),
        (1, {"elbo_se": 0.1}, ["standard error"]),
        (1, NUMBERS, ["standard error", "is a range"]),
        (2, NUMBERS, ["over seeds and its", "is a range", "middles' 95%"]),
    ],
)
def test_the_note_says_how_to_read_what_the_table_has(seeds, metrics, parts):
    note = table_note(table_of(*(record(seed, **metrics) for seed in range(seeds))))
    every = ["over seeds and its", "standard error", "is a range", "middles' 95%"]
    assert [part for part in every if part in note] == parts


def test_the_page_sorts_ranges_by_their_middle():
    low = make_record(1, more={"mutual_information_low": 2.0, "mutual_information_high": 6.0})
    high = make_record(2, more={"mutual_information_low": 3.0, "mutual_information_high": 4.0})
    table = table_of(low, high, make_record(4))
    (column,) = [column for column in columns(table) if column.header == "MI"]
    assert [column.order(row) for row in table.rows] == ["4.0", "3.5", ""]


def test_one_seed_has_bars_over_images_and_several_have_bars_over_seeds():
    one, many = table_of(record(rate_se=0.06)), table_of(record(0, rate_se=0.06), record(1, rate_se=0.06))
    assert half_widths(one, one.rows, "rate") == [0.06]
    assert half_widths(many, many.rows, "rate") == [0.0]


def test_a_dotted_line_joins_the_constant_image_to_the_least_rate():
    ends = {"constant_distortion": 40.0}
    table = table_of(make_record(1, rate=3.0, more=ends), make_record(4, rate=1.0, more=ends))
    axes = PLOTS[0].draw(table).axes[0]
    (line,) = [line for line in axes.lines if line.get_xydata().tolist() == [[0, 40], [1, 20]]]
    assert line.get_linestyle() == ":"
    assert "constant image" in [text.get_text() for text in axes.texts]


def test_the_one_number_that_earlier_records_hold_of_a_range_is_shown_nowhere():
    old = make_record(1, more={"mutual_information": 5.86, "aggregate_kl": 9.2})
    new = make_record(2, more={"mutual_information_low": 1.0, "mutual_information_high": 2.0})
    for table in (table_of(old, new), table_of(old)):
        (column,) = [column for column in columns(table) if column.header == "MI"]
        assert (column.cell(table.rows[0]), column.order(table.rows[0])) == ("", "")
        assert "5.86" not in as_text(table)
        assert 5.86 not in as_dicts(table)[0].values()
