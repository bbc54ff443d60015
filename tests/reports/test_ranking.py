"""Which configuration the report calls best, and how sure it says that is."""

import math
import re

import numpy as np
import pytest
from scipy import stats
from sweeps_of_records import make_record, sentence, table_of, table_with_images

from support.chance import SIGMAS
from vaelab.reports.findings import findings
from vaelab.reports.findings.ranking import best, contenders, ranked
from vaelab.reports.statistics import paired
from vaelab.reports.table import Row


def seeds(*distortions, beta=1.0, **more):
    """Records of one beta; ELBO is -(3 + distortion)."""
    return [make_record(beta, seed, 3.0, value, more) for seed, value in enumerate(distortions)]


def without_validation(records):
    for record in records:
        record["metrics"] = {key: v for key, v in record["metrics"].items() if not key.startswith("val/")}
    return records


def sentences(records, images=None, **options):
    table = table_with_images(records, images or {}, **options)
    return best(table, table.rows, "")


CHOICE = "The best by validation ELBO is beta 1; its test ELBO is"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        # differences .29, .31: half width 12.706 * .0141 / sqrt(2) = .127
        (
            [*seeds(19.99, 20.01), *seeds(20.28, 20.32, beta=2)],
            [
                f"{CHOICE} -23.00 ±0.13.",
                "beta 1 is 0.30 ± 0.13 nats above beta 2, the next (paired over 2 seeds, 95%).",
            ],
        ),
        # .05, .35: 12.706 * .212 / sqrt(2) = 1.91
        (
            [*seeds(19.99, 20.01), *seeds(20.04, 20.36, beta=2)],
            [
                f"{CHOICE} -23.00 ±0.13.",
                "beta 1 is 0.20 ± 1.91 nats above beta 2, the next (paired over 2 seeds, 95%): these seeds "
                "do not "
                "separate them.",
            ],
        ),
        # sqrt(.3^2 + .4^2) * 1.96 = .98
        (
            [*seeds(20.0, elbo_se=0.3), *seeds(21.5, beta=2, elbo_se=0.4)],
            [
                f"{CHOICE} -23.00.",
                "beta 1 is 1.50 ± 0.98 nats above beta 2, the next (from two standard errors, unpaired, "
                "95%): that "
                "is the chance in the test images. A single seed says nothing about the chance in training.",
            ],
        ),
        (
            [*seeds(20.0), *seeds(21.5, beta=2)],
            [
                f"{CHOICE} -23.00.",
                "beta 1 is 1.50 nats above beta 2, the next. A single seed says nothing about the chance in "
                "training, and these records hold no standard error over test images.",
            ],
        ),
        (seeds(20.0), [f"{CHOICE} -23.00, the only configuration with an ELBO."]),
    ],
    ids=["clear", "not separated", "standard errors", "nothing known", "only one"],
)  # fmt: skip
def test_the_best_comes_with_its_difference_from_the_next(records, expected):
    assert sentences(records) == expected


def test_one_seed_is_compared_on_the_same_images():
    """Differences 0, 1, 2: mean 1, s = 1, half width 1.96 / sqrt(3) = 1.13."""
    records = [*seeds(20.0), *seeds(21.0, beta=2)]
    rates = np.full(3, 3.0)
    images = {i: (range(3), rates, values) for i, values in enumerate(([10, 20, 30], [10, 21, 32]))}
    assert sentences(records, images)[1] == (
        "beta 1 is 1.00 ± 1.13 nats above beta 2, the next (paired over 3 test images, 95%): that is the "
        "chance in "
        "the test images, which alone could make this difference. A single seed says nothing about the "
        "chance in "
        "training."
    )


def test_the_choice_is_made_on_validation_and_the_number_is_of_the_test():
    lucky, chosen = make_record(1, rate=3.0, distortion=19.0), make_record(2, rate=3.0, distortion=20.0)
    lucky["metrics"]["val/elbo"] = -24.0
    records = [lucky, chosen]
    assert [row.label for row in ranked(table_of(*records), table_of(*records).rows)[0]] == [
        "beta 2",
        "beta 1",
    ]
    assert sentences(records)[0] == "The best by validation ELBO is beta 2; its test ELBO is -23.00."
    assert sentences(records)[1].startswith("beta 2 is 1.00 nats below beta 1, the next.")


@pytest.mark.parametrize(
    ("options", "images"), [({}, "test"), ({"split": "val"}, "validation")], ids=["old", "val"]
)
def test_a_choice_on_the_reported_images_is_called_optimistic(options, images):
    records = [*seeds(20.0), *seeds(21.0, beta=2)]
    records = records if options else without_validation(records)
    assert sentences(records, **options)[0] == (
        f"The best {images} ELBO is -23.00, at beta 1. The {images} images also made the choice, so this "
        "number is "
        "optimistic."
    )


@pytest.mark.parametrize(
    ("rates", "end"), [([3, 4, 5], "smallest"), ([5, 4, 3], "largest"), ([4, 3, 5], None), ([5, 4], None)]
)
def test_an_optimum_at_an_end_of_three_or_more_betas_is_said(rates, end):
    records = [make_record(i + 1.0, rate=float(rate)) for i, rate in enumerate(rates)]
    text = sentence(records, "The best by validation")
    assert re.findall("It is the (.*) beta tried", text) == ([end] if end else [])


def test_which_others_may_be_the_best_is_said_with_the_level():
    """Three comparisons at 5% / 3: t of 2 degrees of freedom 7.65, times 0.1 / sqrt(3) is 0.442."""
    pattern = np.array([-0.1, 0.0, 0.1])
    records = seeds(20.0, 20.0, 20.0, beta=1)
    for beta, apart in ((2, 0.43), (3, 0.45), (4, 5.0)):
        records += seeds(*(20 + apart + pattern), beta=beta)
    assert stats.t.ppf(1 - 0.05 / 3 / 2, 2) * 0.1 / math.sqrt(3) == pytest.approx(0.4416, abs=1e-4)
    assert sentences(records)[2] == (
        "The seeds leave 1 of the 3 others as possibly the best: beta 2 (5% shared among 3 comparisons)."
    )


def test_of_one_seed_the_images_alone_decide_and_no_seed_is_named():
    records = [*seeds(20.0), *seeds(21.0, beta=2), *seeds(30.0, beta=3)]
    for record in records:
        record["metrics"]["test/elbo_se"] = 0.5
    # z of 5% / 2 comparisons: 2.241 * .7071 = 1.585
    assert sentences(records)[2] == (
        "Chance in the test images alone leaves 1 of the 2 others as possibly the best: beta 2 (5% shared "
        "among 2 "
        "comparisons)."
    )


def test_a_configuration_above_the_chosen_one_is_named_and_two_seeds_are_said_to_rule_out_little():
    """Differences -1 and 10, without any chance; then 10 with an SD of 3, of one degree of freedom."""
    records = [*seeds(20.0, 20.1), *seeds(19.0, 19.1, beta=2), *seeds(30.0, 30.1, beta=3)]
    for record in records[:2]:
        record["metrics"]["val/elbo"] = -1.0
    start = "The seeds leave 1 of the 2 others as possibly the best: beta 2 (5% shared among 2 comparisons)"
    end = "clearly above beta 1 on these images: beta 2."
    assert sentences(records)[2] == f"{start}; two seeds rule out little; {end}"
    records = [*seeds(20.0, 20.1), *seeds(21.0, 21.1, beta=2), *seeds(33.0, 27.0, beta=3)]
    assert sentences(records)[2] == f"{start.replace('beta 2', 'beta 3')}; two seeds rule out little."


def test_the_truly_best_is_rarely_ruled_out():
    """Six configurations without a difference, four seeds in common: the first counts as the best.

    It is ruled out if the one that happens to be highest is above it: in at most 2.5% of 4,000 sweeps. A rule
    at 5% for each comparison rules it out more than twice as often.
    """
    rng = np.random.default_rng(0)
    configurations, n, sweeps = 6, 4, 4000
    values = rng.normal(size=(sweeps, 1, n)) + 0.2 * rng.normal(size=(sweeps, configurations, n))
    rows = [Row((), (), f"c{i}", "", {}) for i in range(configurations)]
    shared = alone = 0
    for sweep in values:
        order = np.argsort(-sweep.mean(1))
        known = [(rows[i], paired(list(sweep[order[0]]), list(sweep[i]))) for i in order[1:]]
        (text,) = contenders(rows[order[0]], known, "test")
        if order[0] != 0:
            left = re.findall(r"\bc\d\b", text)
            shared += "c0" not in left
            alone += next(difference for row, difference in known if row.label == "c0").is_positive()
    assert shared / sweeps <= 0.025 + SIGMAS * math.sqrt(0.025 * 0.975 / sweeps)
    assert shared > 0
    assert alone > 2 * shared


def test_the_sentences_follow_one_another_in_the_findings():
    records = [*seeds(20.0, 20.1), *seeds(21.0, 21.1, beta=2), *seeds(30.0, 30.1, beta=3)]
    assert findings(table_of(*records))[1:4] == sentences(records)
