"""The sentences, on records made so that the right answer is known."""

from compare_builders import beta_sweep, make_record

from vaelab.reports.findings import differences, findings, unfinished
from vaelab.reports.records import read_runs
from vaelab.reports.table import build_table
from vaelab.runs.lock import beat, claim


def words(folder, **options):
    return findings(build_table(read_runs([folder]).runs, **options))


def the(sentences, start):
    (found,) = [text for text in sentences if text.startswith(start)]
    return found


def test_a_beta_sweep_in_words(sweep):
    sentences = words(sweep(*beta_sweep(seeds=2)))
    assert sentences[0].startswith(
        "10 finished runs, 5 configurations, 2 seeds each; numbers are of test images"
    )
    best = the(sentences, "The best ELBO")
    assert "at beta 1; next is beta 2, 1.50 lower" in best
    assert "overlap" not in best
    assert "beta 0.25 to 8 the rate goes from 14.01 to 0.02" in the(sentences, "From")
    assert the(sentences, "Active units") == "Active units first drop by one or more at beta 2, from 4 to 2."
    collapsed = the(sentences, "Collapsed (")
    assert "a rate or a shuffle gap below 0.5 nats per image, or no active unit" in collapsed
    assert "beta 8 (rate 0.02, 2 of 2 seeds)" in collapsed
    assert "beta 2" not in collapsed
    partly = the(sentences, "Partly collapsed (some dimensions are the same for every image)")
    assert "beta 2 (2 active units, 2 of 2 seeds)" in partly
    assert "beta 1" not in partly


def test_the_largest_drop_is_named_when_it_is_not_the_first(sweep):
    records = [make_record(beta, rate=5 - beta) for beta in (1, 2, 3)]
    for record, units in zip(records, (10.0, 9.0, 2.0), strict=True):
        record["metrics"]["test/active_units"] = units
    text = the(words(sweep(*records)), "Active units")
    assert "at beta 2, from 10 to 9; the largest drop, from 9 to 2, is between beta 2 and 3" in text


def test_a_single_seed_promises_nothing(sweep):
    text = the(words(sweep(*beta_sweep(seeds=1))), "The best ELBO")
    assert "Single runs do not tell how much of that is chance" in text


def test_overlapping_intervals_are_said(sweep):
    records = [make_record(beta, seed, 3 + seed + 0.1 * beta) for beta in (1, 2) for seed in (0, 1)]
    assert "intervals overlap" in the(words(sweep(*records)), "The best ELBO")


def test_the_best_at_the_end_of_the_range_is_said(sweep):
    records = [make_record(beta, rate=5 - beta) for beta in (1, 2, 3)]
    assert "the largest beta tried, so the optimum may lie beyond" in the(
        words(sweep(*records)), "The best ELBO"
    )


def test_a_rate_that_rises_with_beta_is_said(sweep):
    text = the(words(sweep(make_record(1, rate=2), make_record(2, rate=5))), "From beta")
    assert "Between beta 1 and 2 the rate rises" in text


def test_none_collapsed_names_the_criterion_too(sweep):
    assert the(words(sweep(make_record(1))), "No run has") == (
        "No run has collapsed (a rate or a shuffle gap below 0.5 nats per image, or no active unit)."
    )


def test_an_autoencoder_is_mentioned_and_not_judged_by_its_rate(sweep):
    sentences = words(
        sweep(make_record(None, rate=None, swept={"model": "ae"}), make_record(1, swept={"model": "vae"}))
    )
    assert "ae (distortion 20.00)" in the(sentences, "Without a rate")
    the(sentences, "No run has collapsed")


def test_different_data_are_not_ranked_together(sweep):
    sentences = words(sweep(make_record(1), make_record(1, dataset="sprites", distortion=300.0)))
    the(sentences, "On digits (Bernoulli): The best ELBO is -23.00")
    the(sentences, "On sprites (Bernoulli): The best ELBO is -303.00")
    assert "compare only within one" in the(sentences, "Data or likelihood differ")


def conditional(**changes):
    record = make_record(1, distortion=10.0, variant="conditional_vae", **changes)
    record["config"]["model"]["condition"] = {"_target_": "vaelab.models.LabelCondition"}
    return record


def test_a_conditional_model_is_not_ranked_with_others_and_its_elbo_is_named(sweep):
    sentences = words(sweep(make_record(1), make_record(2), conditional()))
    the(sentences, "On digits (Bernoulli): The best ELBO is -23.00, at beta_vae, beta 1; next is")
    the(sentences, "On digits (Bernoulli, given label): The best ELBO is -13.00, at conditional_vae")
    assert "within one of digits (Bernoulli), digits (Bernoulli, given label)" in the(
        sentences, "Data, likelihood or what the model is told differ between runs"
    )
    the(sentences, "A model that is told y has an ELBO that bounds log p(x|y)")


def test_conditional_models_alone_are_ranked_and_their_elbo_is_named(sweep):
    sentences = words(sweep(conditional(), conditional(seed=1)))
    the(sentences, "The best ELBO is -13.00")
    the(sentences, "A model that is told y has an ELBO that bounds log p(x|y)")
    assert not [text for text in sentences if "differ between runs" in text]


def test_without_a_conditional_model_nothing_is_said_of_one(sweep):
    assert not [text for text in words(sweep(make_record(1))) if "told" in text]


def test_failed_alone_says_so_and_no_more(sweep):
    sentences = words(sweep(make_record(1, status="failed", metrics={}, error="no")))
    assert len(sentences) == 1
    assert sentences[0].startswith("0 finished runs, 1 failed, 1 configuration;")


def test_differences_share_an_entry_when_they_go_together(sweep):
    runs = read_runs([sweep(make_record(1), make_record(2), make_record(2, git="def"))]).runs
    found = {entry.keys: entry.values for entry in differences(runs)}
    assert found[("model.beta", "model.objective.kl.weight")] == (("1", 1), ("2", 2))
    assert found[("git",)] == (("abc", 2), ("def", 1))
    assert len(found) == 2


def test_why_runs_have_no_numbers(sweep):
    runs = read_runs(
        [
            sweep(
                make_record(1, status="failed", error="ValueError: no\nmore"),
                make_record(2, status="running"),
            )
        ]
    ).runs
    failed, stopped = unfinished(runs)
    assert failed[1:] == ("failed", "ValueError: no")
    assert stopped[1:] == ("interrupted", "stopped before its end")


def test_an_interrupted_run_has_not_failed_and_says_how_far_it_was(sweep):
    folder = sweep(
        make_record(1),
        make_record(2, status="running", metrics={}),
        make_record(4, status="interrupted", metrics={}, error="interrupted (SIGTERM)"),
        make_record(8, status="running", metrics={}),
    )
    (folder / "multirun.yaml").touch()
    for name, epoch in (("01", 7), ("03", 9)):
        beat(folder / name, epoch=epoch, max_epochs=40)
    with claim(folder / "03"):
        table = build_table(read_runs([folder]).runs)
    assert findings(table)[0].startswith("1 finished run, 2 interrupted, 1 running, 4 configurations")
    assert [row.status for row in table.rows] == ["", "interrupted", "interrupted", "running"]
    assert [state[1:] for state in unfinished(table.runs)] == [
        (
            "interrupted",
            "stopped after 7 of 40 epochs; the same command goes on from there",
        ),
        ("interrupted", "stopped before its end; the same command goes on from there"),
        ("running", "still training, 9 of 40 epochs done"),
    ]
