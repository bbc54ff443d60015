"""Each run at its own objective: against the runs of other betas and against a constant image."""

from copy import deepcopy

import numpy as np
import pytest
from sweeps_of_records import KL, OBJECTIVE, begins, make_record, sentence, table_of, table_with_images

from support.chance import SIGMAS
from vaelab.reports.findings.curve import constant_image, dominance

START = "Beta 0.01 was not trained"


def records_of(points, **more):
    """Records at these {beta: (rate, distortion)}."""
    return [make_record(beta, rate=rate, distortion=d, more=more) for beta, (rate, d) in points.items()]


def near(rate, distortion, noise, seed):
    """Rates and distortions of 400 images about these means, the noise of the distortion in common."""
    rng = np.random.default_rng(seed)
    common = 5 * np.random.default_rng(99).normal(size=400)
    return range(400), rate + 0 * common, distortion + common + noise * rng.normal(size=400)


def sentences(points, noise=None):
    records = records_of(points)
    images = {i: near(*point, noise, i) for i, point in enumerate(points.values())} if noise else {}
    table = table_with_images(records, images)
    return dominance(table, table.rows)


EARLY = {0.01: (12.4, 26.8), 0.1: (15.92, 16.89), 1.0: (3.41, 21.61)}  # 0.01: from its first epoch


def test_a_beta_that_another_beats_at_its_objective_is_named_with_the_amount():
    """26.8 + 0.124 - (16.89 + 0.1592) = 9.8748, whatever other beta is also better."""
    (text,) = sentences(EARLY)
    assert text == (
        "Beta 0.01 was not trained to its optimum: at its own objective, D + 0.01 R, beta 0.1 is 9.87 nats "
        "better "
        "(these records hold no standard error, so this may be chance). It had too few epochs, or it "
        "overfits."
    )


def test_a_curve_of_optima_has_no_such_beta():
    """R(beta) = 10 - 4 log beta and D' = -beta R' give D = 20 + 4 beta: each is the best at its objective."""
    points = {beta: (10 - 4 * np.log(beta), 20 + 4 * beta) for beta in (0.1, 0.5, 1.0, 4.0)}
    assert sentences(points) == sentences(points, noise=0.5) == []


@pytest.mark.parametrize(("gap", "said"), [(0.05, False), (0.3, True)])
def test_what_is_within_the_error_over_images_is_not_said(gap, said):
    """The differences have an SD of 1 * sqrt(2) on 400 images: a standard error of 0.071, ± 0.16.

    Unpaired it would be 5 * sqrt(2) / 20 = 0.35: the pairs decide.
    """
    points = {0.5: (4.0, 20.0 + gap), 1.0: (4.0, 20.0), 4.0: (1.0, 29.0)}
    found = sentences(points, noise=1.0)
    assert len(found) == said
    if said:
        assert "at its own objective, D + 0.5 R, beta 1 is 0." in found[0]
        assert "(paired over 400 test images, 95%)" in found[0]


def test_a_beta_at_its_optimum_is_rarely_named():
    """Three runs with the same expectations: of 3 * 400 chances at most 2.5% are named."""
    named = 0
    for trial in range(400):
        rng = np.random.default_rng(trial)
        values = rng.normal(size=(3, 2, 50))
        records = [make_record(beta) for beta in (0.5, 1, 2)]
        table = table_with_images(records, {i: (range(50), *values[i]) for i in range(3)})
        named += len(dominance(table, table.rows))
    assert 0 < named <= 1200 * 0.025 + SIGMAS * np.sqrt(1200 * 0.025)


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": {**OBJECTIVE, "kl": KL, "tc": {"_target_": "vaelab.models.TotalCorrelation"}}},
        {"objective": {"kl": KL, "importance": {"_target_": "vaelab.models.ImportanceBound"}}},
        {"objective": {"kl": {}}},
        {"corruption": {"_target_": "vaelab.models.GaussianNoise"}},
    ],
    ids=["another term", "another distortion", "an old record", "a corrupted input"],
)  # fmt: skip
def test_another_objective_than_distortion_plus_rate_is_not_judged(changes):
    records = records_of(EARLY)
    for record in records:
        record["config"]["model"] |= deepcopy(changes)
        record["config"]["model"]["objective"]["kl"]["weight"] = record["beta"]
    assert table_of(*records).beta_series
    assert not begins(records, "Beta")
    assert begins(records_of(EARLY), START)


CONSTANT = {"constant_distortion": 27.17, "elbo_se": 0.2, "rate_se": 0.01, "distortion_se": 0.1}


def constants(*records):
    table = table_of(*records)
    return constant_image(table, table.rows, "")


def test_what_a_constant_image_beats_is_named_with_the_amount():
    """At beta 4: 27.5 + 4 * .05 - 27.17 = 0.53, error at most .1 + 4 * .01; at 0.1: 20 + 1 is below 27.17."""
    points = {0.1: (10.0, 20.0), 1.0: (3.0, 24.3), 4.0: (0.05, 27.5), 20.0: (0.01, 27.6)}
    records = records_of(points, **CONSTANT)
    assert constants(*records) == [
        "A constant image (rate 0, distortion 27.17) is better at their own objective, D + beta R, than beta "
        "4 (by "
        "0.53 ± 0.27 nats); beta 20 (by 0.63 ± 0.59 nats)."
    ]  # of beta 1 it is better by 0.13, which is less than 1.96 * 0.2
    assert sentence(records, "A constant image") == constants(*records)[0]


def test_another_objective_is_compared_by_its_distortion():
    autoencoder = make_record(None, rate=None, distortion=27.57, more=CONSTANT, swept={"model": "ae"})
    autoencoder["config"]["model"]["objective"] = OBJECTIVE
    assert constants(autoencoder) == [
        "A constant image (rate 0, distortion 27.17) has a lower distortion than ae (by 0.40 ± 0.20 nats)."
    ]


def test_of_seeds_the_means_are_compared_and_old_records_are_not():
    records = [make_record(4, seed, 0.05, value, CONSTANT) for seed, value in enumerate((27.4, 27.6))]
    assert "than beta 4 (by 0.53 ± 0.27 nats)." in constants(*records)[0]
    assert constants(make_record(4, rate=0.05, distortion=270.0)) == []


def test_a_constant_image_is_compared_on_the_same_images():
    """D + 2 R - 27 = 1, 2, 3 on three images that differ by far more: ± 1.96 / sqrt(3) = 1.13."""
    record = make_record(2, rate=1.0, distortion=28.0, more=CONSTANT)
    constant = np.array([7.0, 27.0, 47.0])
    images = {0: (range(3), np.ones(3), constant + np.array([-1.0, 0.0, 1.0]), constant)}
    table = table_with_images([record], images)
    assert "than beta 2 (by 2.00 ± 1.13 nats)." in constant_image(table, table.rows, "")[0]
