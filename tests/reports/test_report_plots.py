"""What the plots and contact sheets draw."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from sweeps_of_records import (
    add_history,
    add_pictures,
    beta_sweep,
    image_grid,
    make_record,
    table_of,
    write_sweep,
)

from vaelab.reports.drawing import Label, line_styles, place_labels, point_style
from vaelab.reports.plots import against_beta, kl_heatmap, rate_distortion, tooltips, training_curves
from vaelab.reports.records import read_runs
from vaelab.reports.sheets import MAP_WIDTH, MOST_ROWS, PADDING, as_picture, contact_sheets, grid_rows
from vaelab.reports.table import build_table
from vaelab.runs.plans import write_plan


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


def test_the_reference_curve_of_a_plan_is_drawn_once(tmp_path):
    write_sweep(tmp_path, *beta_sweep(seeds=1))
    write_plan(tmp_path, {"curve": {"rate": [9.0, 0.0], "distortion": [15.0, 30.0]}})
    axes = rate_distortion(build_table(read_runs([tmp_path]).runs)).axes[0]
    [line] = [line for line in axes.lines if line.get_linestyle() == "-."]
    assert line.get_xydata().tolist() == [[9.0, 15.0], [0.0, 30.0]]
    assert not [
        line
        for line in rate_distortion(table_of(*beta_sweep())).axes[0].lines
        if line.get_linestyle() == "-."
    ]


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
    assert {strip.width for _, strip in maps.strips} == {MAP_WIDTH}
    assert (np.asarray(maps.strips[3][1].convert("L"))[:27] < 100).any()  # its label
    assert as_picture(maps).width == 3 * MAP_WIDTH + 2 * PADDING + 2 * PADDING  # three to a line


# many rows, and rows that do not compare


def variants(number):
    """Variants of two letters: their betas differ, and are not swept."""
    names = [f"v{i}" for i in range(number)]
    return [make_record(1 + i, rate=1 + i, swept={"model": n}, variant=n) for i, n in enumerate(names)]


def test_25_variants_differ_in_colour_or_marker_and_are_named_in_the_legend():
    figure = rate_distortion(table_of(*variants(25)))
    (curve, *_) = figure.axes[0].containers
    assert len(figure.axes[0].containers) == 25
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"v{i}" for i in range(25)]
    styles = [point_style(i, line=False) for i in range(64)]
    assert len({(style["fmt"], style["color"]) for style in styles}) == 64
    assert curve.lines[0].get_linestyle() == "None"
    curves = line_styles(table_of(*variants(25)))
    assert len({(style["color"], str(style["linestyle"])) for style in curves}) == 25


def test_rows_of_an_unswept_beta_have_marks_of_their_own_and_the_label_of_what_varies():
    """Of a sweep of lr and network on two data sets: within one of them the data are the same."""

    def record(lr, data):
        made = make_record(1, rate=lr, dataset=data, swept={"optimizer.lr": lr, "data": data})
        made["config"]["optimizer"] = {"lr": lr}
        return made

    table = table_of(*(record(lr, data) for data in ("digits", "sprites") for lr in (1, 2)))
    figure = rate_distortion(table)
    colours = [points.lines[0].get_color() for axes in figure.axes for points in axes.containers]
    assert len(set(colours)) == 4
    texts = [text.get_text() for axes in figure.axes for text in axes.texts if "ELBO" not in text.get_text()]
    assert texts == ["lr 1", "lr 2", "lr 1", "lr 2"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["digits, lr 1", "digits, lr 2", "sprites, lr 1", "sprites, lr 2"]
    assert [style["color"] for style in line_styles(table)] == colours


def test_a_long_legend_says_how_many_it_leaves_out():
    (legend,) = rate_distortion(table_of(*variants(50))).legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert (len(texts), texts[-1]) == (48, "and 3 more: see the table")


def test_a_beta_that_is_not_swept_has_no_figure_and_no_line():
    assert against_beta(table_of(*variants(4))) is None


def mixed():
    """A sweep of beta and an own likelihood: nats per image that do not compare."""
    gaussian = make_record(1, distortion=-300.0, swept={"model": "sigma_vae"}, variant="sigma_vae")
    gaussian["config"]["likelihood"] = {"_target_": "vaelab.models.LearnedGaussian"}
    return [*beta_sweep(seeds=1), gaussian]


def test_rows_that_do_not_compare_have_axes_of_their_own():
    first, second = rate_distortion(table_of(*mixed())).axes
    assert [len(axes.containers) for axes in (first, second)] == [1, 1]
    assert first.get_ylim()[0] > 0  # the other likelihood does not stretch it
    assert second.get_ylim()[1] < 0
    titles = [part.get_suptitle() for part in (first.figure, second.figure)]
    assert titles == ["digits (Bernoulli)", "digits (LearnedGaussian)"]
    assert len(against_beta(table_of(*mixed())).axes) == 4


def test_training_curves_have_a_legend_and_a_single_epoch_is_a_point(tmp_path):
    write_sweep(tmp_path, *mixed()[-2:])
    add_history(tmp_path / "00", epochs=5)
    add_history(tmp_path / "01", epochs=1)
    figure = training_curves(build_table(read_runs([tmp_path]).runs))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "beta_vae, beta 8", "sigma_vae, beta 1",
    ]  # fmt: skip
    long, short = (figure.axes[i].lines[0] for i in (0, 3))
    assert (long.get_marker(), short.get_marker()) == ("", "o")
    assert short.get_xydata().tolist() == [[1.0, -30.0]]  # the first epoch is epoch 1
    assert [text.get_text() for text in figure.axes[3].get_xticklabels()] == ["1"]


def test_labels_cover_neither_points_nor_each_other():
    figure = Figure(dpi=72)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    near = [
        Label("first", 0.5, 0.5),
        Label("second", 0.505, 0.5),
        Label("third", 0.5, 0.51),
        Label("far", 0.1, 0.9),
    ]
    near += [Label(f"crowded {i}", 0.5 + 0.001 * i, 0.505) for i in range(20)]
    place_labels(axes, near, (6.4, 4.8))
    written = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert {"first", "far"} <= written.keys()
    assert len(written) < 10
    boxes = list(written.values())
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


NORMAL = {"_target_": "vaelab.models.StandardNormal"}
LADDER = {"posterior": {"_target_": "vaelab.models.Ladder"}}


@pytest.mark.parametrize(
    ("changes", "caption"),
    [
        (({}, {}), "The same z ~ p(z) in every row."),
        (({}, {}, {"latent_dim": 4}), "The same z ~ p(z) in rows of the same latent size."),
        (({}, {"latent_dim": 4}), "z ~ p(z) of each row's own model."),
        (
            ({}, {"prior": {"_target_": "vaelab.models.MixtureOfGaussians"}}),
            "z ~ p(z) of each row's own model.",
        ),
        (({}, {"model": LADDER}), "z ~ p(z) of each row's own model."),
        (({}, {"latent_dim": None}), "z ~ p(z) of each row's own model."),
        (({}, {}, {"latent_dim": 4, "picture": False}), "The same z ~ p(z) in every row. No such picture"),
    ],
)
def test_samples_of_the_prior_are_said_to_be_of_the_same_z_only_where_they_are(tmp_path, changes, caption):
    records = []
    for beta, change in enumerate(changes):
        record = make_record(beta, latent_dim=change.get("latent_dim", 2))
        config = record["config"]
        parts = {"prior": change.get("prior", NORMAL), "model": config["model"] | change.get("model", {})}
        records.append(record | {"config": config | parts})
    write_sweep(tmp_path, *records)
    for i, change in enumerate(changes):
        if change.get("picture", True):
            add_pictures(tmp_path / f"{i:02d}")
    prior = contact_sheets(build_table(read_runs([tmp_path]).runs))[0]
    assert prior.caption.startswith(caption)


def test_no_configuration_is_left_out_of_the_sheets_without_a_word(tmp_path):
    write_sweep(tmp_path, *(make_record(i) for i in range(25)))
    for i in range(25):
        add_pictures(tmp_path / f"{i:02d}")
    runs = read_runs([tmp_path]).runs
    prior = contact_sheets(build_table(runs))[0]
    assert len(prior.strips) == 25
    assert "configurations" not in prior.caption
    (tmp_path / "03/samples/prior.png").unlink()
    prior = contact_sheets(build_table(runs))[0]
    assert prior.caption.endswith("No such picture in the folder of beta 3.")


def test_a_sheet_of_too_many_says_how_many_it_shows(tmp_path):
    write_sweep(tmp_path, *(make_record(i) for i in range(MOST_ROWS + 3)))
    for i in range(MOST_ROWS + 3):
        (tmp_path / f"{i:02d}/samples").mkdir()
        image_grid(1, 2, 100).save(tmp_path / f"{i:02d}/samples/prior.png")
    (prior,) = contact_sheets(build_table(read_runs([tmp_path]).runs))
    assert len(prior.strips) == MOST_ROWS
    assert prior.caption.endswith("60 of 63 configurations are shown, evenly spaced in the table.")
