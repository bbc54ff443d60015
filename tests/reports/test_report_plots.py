"""What the plots and contact sheets draw."""

import numpy as np
import pytest
from sweeps_of_records import add_pictures, beta_sweep, image_grid, make_record, table_of, write_sweep

from vaelab.reports.plots import against_beta, kl_heatmap, rate_distortion, tooltips
from vaelab.reports.records import read_runs
from vaelab.reports.sheets import MAP_WIDTH, PADDING, contact_sheets, grid_rows
from vaelab.reports.table import build_table


def test_rows_without_a_rate_are_not_on_the_curve_and_a_line_joins_a_sweep_of_beta():
    records = [make_record(None, rate=None), make_record(1, rate=3.0), make_record(2, rate=2.0)]
    axes = rate_distortion(table_of(*records)).axes[0]
    (curve,) = axes.containers
    assert curve.lines[0].get_xydata().tolist() == [[3.0, 20.0], [2.0, 20.0]]
    assert curve.lines[0].get_linestyle() == "-"
    texts = [text.get_text() for text in axes.texts]
    assert texts[-2:] == ["β 1", "β 2"]
    levels = [line.get_ydata()[0] + line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert levels == pytest.approx([float(text[6:]) for text in texts[:-2]])  # "ELBO −23"


def test_a_tooltip_has_the_numbers_of_its_row():
    table = table_of(*beta_sweep(seeds=2))
    assert tooltips(table)["row-2"] == (
        "beta 1\nrate 4.01 ±0.13\ndistortion 18.01 ±0.13\nELBO -22.02 ±0.25\nactive units 4 ±0\n2 seeds"
    )


def test_many_betas_and_zero_have_a_log_axis_with_some_ticks():
    betas = [0.0, *(0.1 * 1.5**k for k in range(14))]
    axes = against_beta(table_of(*(make_record(beta) for beta in betas))).axes[2]
    assert [text.get_text() for text in axes.get_xticklabels()][:3] == ["0", "0.15", "0.3375"]
    x = axes.transData.transform([(beta, 0) for beta in betas])[:, 0]
    assert np.diff(x)[1:] == pytest.approx(np.diff(x)[1], rel=1e-6)


def test_heat_map_is_sorted_within_each_run_then_averaged():
    one, two = (make_record(1, s, more={"kl_per_dim": kl}) for s, kl in enumerate([[0, 4, 1], [3, 0, 2]]))
    figure = kl_heatmap(table_of(one, two))
    assert figure.axes[0].collections[0].get_array().tolist() == [[3.5, 1.5, 0.0]]


@pytest.mark.parametrize(("size", "rows"), [(12, 8), (48, 4), (64, 1)])
def test_rows_of_a_grid_are_found_whatever_its_size(size, rows):
    strips = grid_rows(image_grid(rows, 8, 40, size).convert("RGB"))
    assert [strip.size for strip in strips] == [(8 * (size + 2) + 2, size)] * rows


def test_contact_sheets_have_a_row_for_each_configuration_and_originals_once(tmp_path):
    write_sweep(tmp_path, *(make_record(beta) for beta in (1, 2, 3, 4, 5)))
    for i in range(4):  # the fifth has no pictures
        add_pictures(tmp_path / f"0{i}", shade=20 + 50 * i)
    prior, mixture, reconstructions, traversals, maps = contact_sheets(
        build_table(read_runs([tmp_path]).runs)
    )
    labels = ["beta 1", "beta 2", "beta 3", "beta 4"]
    for sheet in (prior, mixture, traversals):
        assert [label for label, _ in sheet.strips] == labels
    assert [label for label, _ in reconstructions.strips] == ["originals", *labels]
    means = [np.asarray(strip).mean() for _, strip in prior.strips]
    assert np.diff(means) == pytest.approx([43, 43, 43], abs=3)  # 50 where it is not the grey of the gaps
    assert traversals.strips[0][1].width == 2 * (9 * 14 + 2) + 3 * PADDING
    first, second = (strip for _, strip in maps.strips)  # three to a strip
    assert (first.width, second.width) == (3 * MAP_WIDTH + 2 * PADDING, MAP_WIDTH)
    assert (np.asarray(second.convert("L"))[:27] < 100).any()  # its label
