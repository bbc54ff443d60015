"""What the cells of a comparison show."""

import pytest
from tests.reports.sweeps_of_records import make_record, table_of

from vaelab.reports.cells import bracket, show_bracket, show_measured, show_verdict
from vaelab.reports.plots import PLOTS, constant_distortion

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
