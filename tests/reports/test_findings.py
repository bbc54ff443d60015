"""Every sentence, on records made so that its number is known."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from sweeps_of_records import begins, beta_sweep, make_record, sentence, table_of, write_sweep

from vaelab.cli.paths import conf_dir
from vaelab.reports.findings import differing_settings, findings, unfinished
from vaelab.reports.plots import against_beta, rate_distortion
from vaelab.reports.records import as_run, read_runs
from vaelab.runs.lock import beat, claim
from vaelab.runs.record import kl_weight


def sweep(rates, units=None):
    """Betas 1, 2, 3, ... with these rates and active units."""
    units = units or [4.0] * len(rates)
    return [
        make_record(i + 1.0, rate=rate, more={"active_units": unit})
        for i, (rate, unit) in enumerate(zip(rates, units, strict=True))
    ]


@pytest.mark.parametrize(
    ("records", "options", "counts", "images"),
    [
        (beta_sweep(seeds=3), {}, "15 finished runs, 5 configurations, 3 seeds each", "test"),
        (
            [*beta_sweep(seeds=1), make_record(1, 5)], {"split": "val"},
            "6 finished runs, 5 configurations, 1 to 2 seeds each", "validation",
        ),
        (beta_sweep(seeds=2), {"folded": False}, "10 finished runs", "test"),
        (
            [make_record(1, status="failed", metrics={})], {},
            "0 finished runs, 1 failed, 1 configuration", "test",
        ),
    ],
    ids=["seeds", "validation", "no fold", "failed"],
)  # fmt: skip
def test_scope_counts_runs_configurations_and_seeds(records, options, counts, images):
    scope = findings(table_of(*records, **options))[0]
    assert scope == f"{counts}; numbers are of {images} images, in nats per image."


def test_the_ends_of_a_curve_are_said():
    assert sentence(sweep([2.0, 2.5, 1.0]), "From") == (
        "From beta 1 to 3 the rate goes from 2.00 to 1.00 and the distortion from 20.00 to 20.00."
    )


def test_a_rate_below_0_is_said_to_be_an_estimate():
    assert sentence(sweep([2.0, 1.0, -3.04]), "From").endswith(
        "20.00. (A rate below 0 is an estimate with an error: no divergence is negative.)"
    )


def composed(variant, beta, rate):
    """The record of a run whose config is composed from conf/."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [f"model={variant}", f"model.beta={beta}"])
    config = OmegaConf.to_container(cfg, resolve=True)
    swept = {"model.beta": beta}
    return make_record(kl_weight(cfg), rate=rate, variant=variant, swept=swept, config=config)


@pytest.mark.parametrize(
    ("variant", "is_kl_weight"),
    [("beta_vae", True), ("beta_tc_vae", False), ("info_vae", False), ("annealed_vae", False)],
)
def test_only_a_beta_that_is_the_weight_of_the_kl_orders_the_runs(variant, is_kl_weight):
    records = [composed(variant, beta, rate=2.0 * beta) for beta in (1, 2, 4)]
    table = table_of(*records)
    assert [row.label for row in table.rows] == ["beta 1", "beta 2", "beta 4"]
    assert bool(table.beta_series) == is_kl_weight
    assert (against_beta(table) is not None) == is_kl_weight
    assert ("at its own objective" in " ".join(findings(table))) == is_kl_weight
    assert begins(records, "From") == begins(records, "All betas") == is_kl_weight
    lines = [points.lines[0].get_linestyle() for points in rate_distortion(table).axes[0].containers]
    assert lines == (["-"] if is_kl_weight else ["None"] * len(lines))


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([4, 4, 2], "Active units first drop by one or more at beta 3, from 4 to 2."),
        ([4, 3.5, 3], "Active units first drop by one or more at beta 3, from 4 to 3."),
        (
            [10, 9, 2],
            "Active units first drop by one or more at beta 2, from 10 to 9; the largest drop, from 9 to 2, "
            "is between beta 2 and 3.",
        ),
        ([4, 4, 4], "All betas have 4 active units."),
        ([3.5, 4, 3.25], "Active units stay between 3.25 and 4 and never drop by one or more."),
    ],
    ids=["last", "against the most so far", "largest", "all", "between"],
)
def test_active_units_along_beta(units, expected):
    assert sentence(sweep([5, 4, 3], units), "A") == expected


def test_sentences_of_several_series_begin_with_its_name_and_most_are_left_to_the_table():
    records = [make_record(b, rate=3 / b, swept={"model.beta": b, "d": d}) for d in range(8) for b in (1, 2)]
    for record in records:
        record["config"]["d"] = record["swept"]["d"]
    assert sentence(records, "d 5: from") == (
        "d 5: from beta 1 to 2 the rate goes from 3.00 to 1.50 and the distortion from 20.00 to 20.00."
    )
    assert not begins(records, "d 6")
    sentence(records, "2 further series are in the table and the figures.")


CRITERION = "no active unit, or a shuffle gap below two of its standard errors"


def test_collapse_names_its_criterion_and_the_numbers():
    records = [*beta_sweep(seeds=2), make_record(8, 2, rate=0.6, more={"active_units": 4})]
    assert (
        sentence(records, "Collapsed") == f"Collapsed ({CRITERION}): beta 8 (no active unit, 2 of 3 seeds)."
    )
    assert sentence(records, "Pruned") == (
        "Pruned (the other dimensions are the same for every image): beta 2 (2 of 4 active, 2 of 2 seeds)."
    )
    assert sentence([make_record(1)], "No run") == f"No run has collapsed ({CRITERION})."


def test_an_autoencoder_is_mentioned_and_not_judged_by_its_rate():
    autoencoder = make_record(None, rate=None, swept={"model": "ae"})
    records = [autoencoder, make_record(1, swept={"model": "vae"})]
    assert sentence(records, "A deterministic code").endswith("rate-distortion curve: ae (distortion 20.00).")
    sentence(records, "No run has collapsed")
    assert not begins([autoencoder], "No run")


def conditional(**changes):
    record = make_record(1, distortion=10.0, variant="conditional_vae", **changes)
    record["config"]["model"]["condition"] = {"_target_": "vaelab.models.LabelCondition"}
    return record


def test_different_data_are_not_ranked_together():
    records = [make_record(1), make_record(1, dataset="sprites", distortion=300.0)]
    for group, elbo in (("digits (Bernoulli)", "-23.00"), ("sprites (Bernoulli)", "-303.00")):
        assert f"; its test ELBO is {elbo}" in sentence(
            records, f"On {group}: The best by validation ELBO is "
        )
    assert sentence(records, "Data") == (
        "Data or likelihood differ between runs: rate, distortion and ELBO compare only within one of digits "
        "(Bernoulli), sprites (Bernoulli)."
    )


def test_a_conditional_model_is_not_ranked_with_others_and_its_elbo_is_explained():
    records = [make_record(1), make_record(2), conditional()]
    best = "The best by validation ELBO is"
    sentence(records, f"On digits (Bernoulli): {best} beta_vae, beta 1; its test ELBO is -23.00.")
    sentence(
        records,
        f"On digits (Bernoulli, given label): {best} conditional_vae, beta 1; its test ELBO is -13.00",
    )
    sentence(records, "Data, likelihood or the condition differ between runs")
    sentence(records, "The ELBO of a model with a condition y bounds log p(x|y), not log p(x)")
    assert begins([conditional()], "The ELBO of a model")
    assert not begins([conditional()], "Data")


def test_settings_that_go_together_share_an_entry():
    records = [make_record(1), make_record(2), make_record(2, git="def")]
    runs = [as_run(record, Path(f"{i}")) for i, record in enumerate(records)]
    assert {entry.keys: str(entry) for entry in differing_settings(runs)} == {
        ("model.beta", "model.objective.kl.weight"): "1 (1), 2 (2)",
        ("git",): "abc (2), def (1)",
    }


def test_each_run_without_numbers_has_its_reason(tmp_path):
    def stopped(beta, status, **changes):
        return make_record(beta, status=status, metrics={}, **changes)

    write_sweep(
        tmp_path,
        make_record(1),
        stopped(2, "running"),
        stopped(4, "interrupted", error="interrupted (SIGTERM)"),
        stopped(8, "running"),
        stopped(16, "failed", error="ValueError: no\nmore"),
        stopped(32, "failed"),
    )
    for name, epoch in (("01", 7), ("03", 9)):
        beat(tmp_path / name, epoch=epoch, max_epochs=40)

    def reasons():
        return [(run.status, reason) for run, reason in unfinished(read_runs([tmp_path]).runs)]

    with claim(tmp_path / "03"):
        assert reasons()[1:] == [
            ("interrupted", "stopped before its end"),
            ("running", "still training, 9 of 40 epochs done"),
            ("failed", "ValueError: no"),
            ("failed", "no reason in its record"),
        ]
    (tmp_path / "multirun.yaml").touch()
    assert reasons()[0] == ("interrupted", "stopped after 7 of 40 epochs; the same command resumes it")


# what does not vary, and what does not compare


def varied(key, values, betas=None):
    """A sweep over ``key``; beta is 1 throughout, or goes along with it."""
    records = []
    for i, value in enumerate(values):
        swept = {key: value} | ({} if betas is None else {"model.beta": betas[i]})
        record = make_record(1 if betas is None else betas[i], rate=2.0 + i, swept=swept)
        if key == "data":
            record["dataset"] = value
        record["config"][key] = value
        records.append(record)
    return records


ALONG_BETA = (
    "From beta",
    "from beta",
    "All betas",
    "Active units",
    "active units first",
    "Beta ",
    "the optimum",
)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("data.batch_size", [64, 128, 256]),
        ("network", ["mlp", "conv", "resnet"]),
        ("model.latent_dim", [2, 10, 32]),
        ("optimizer.lr", [1e-4, 1e-3, 1e-2]),
        ("data", ["digits", "mnist", "sprites"]),
        ("seed", [0, 1, 2]),
    ],
)
@pytest.mark.parametrize("folded", [True, False])
def test_no_sentence_is_about_a_beta_that_does_not_vary(key, values, folded):
    records = varied(key, values)
    for record, seed in zip(records, values, strict=True):
        record["seed"] = seed if key == "seed" else 0
    table = table_of(*records, folded=folded)
    said = " ".join(findings(table))
    assert not [start for start in ALONG_BETA if start in said]
    assert against_beta(table) is None
    assert table.beta_series == {}


@pytest.mark.parametrize(
    ("key", "values"),
    [("data", ["digits", "mnist", "sprites"]), ("network", ["mlp", "conv", "resnet"])],
)
def test_no_sentence_is_about_a_beta_that_varies_with_another_setting(key, values):
    said = " ".join(findings(table_of(*varied(key, values, betas=[1, 2, 4]))))
    assert not [start for start in ALONG_BETA if start in said]


def test_each_of_several_betas_is_compared_with_those_of_its_own_group_alone():
    """Two data sets, two betas each: four numbers, of which two and two compare."""
    records = []
    for data, distortion in (("digits", 20.0), ("sprites", 300.0)):
        for beta in (1, 2):
            swept = {"data": data, "model.beta": beta}
            records.append(make_record(beta, rate=3 / beta, distortion=distortion, dataset=data, swept=swept))
    said = findings(table_of(*records))
    both = [text for text in said if "digits" in text and "sprites" in text]
    assert both == [text for text in said if text.startswith("Data or likelihood differ between runs")]
    for data, distortion in (("digits", "20.00"), ("sprites", "300.00")):
        assert (
            f"{data}: from beta 1 to 2 the rate goes from 3.00 to 1.50 and the distortion from "
            in " ".join(said)
        )
        assert f"from {distortion} to {distortion}" in " ".join(said)
        assert any(
            text.startswith(f"{data}, beta 2 is 1.50 nats above {data}, beta 1, the next") for text in said
        )


def test_another_likelihood_has_no_share_in_a_constant_image_a_curve_or_a_choice():
    gaussian = make_record(
        8,
        distortion=-300.0,
        swept={"model": "sigma_vae"},
        variant="sigma_vae",
        more={"constant_distortion": 7.4},
    )
    gaussian["config"]["likelihood"] = {"_target_": "vaelab.models.LearnedGaussian"}
    said = findings(table_of(*beta_sweep(seeds=1), gaussian))
    about = [text for text in said if "sigma_vae" in text]
    assert about == [
        "On digits (LearnedGaussian): The best by validation ELBO is sigma_vae, beta 8; its test ELBO is "
        "297.00, the only configuration with an ELBO."
    ]
    assert "beta_vae: from beta 0.25 to 8 the rate goes from 14.00 to 0.01" in " ".join(said)
