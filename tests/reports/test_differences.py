"""Differences of configurations against scipy, numbers by hand and simulations."""

import math

import numpy as np
import pytest
from scipy import stats
from sweeps_of_records import make_record, table_with_images

from support.chance import SIGMAS
from vaelab.reports.differences import cost_difference
from vaelab.reports.statistics import MeanDifference, from_errors, paired, welch

SEEDS = [0.759, 0.604, 0.627]  # the ELBO of one configuration above that of another, for each of three seeds


def test_paired_by_hand():
    found = paired(
        [3.0, 5.0, 4.0], [2.0, 2.0, 2.0]
    )  # differences 1, 3, 2: mean 2, s = 1, s / sqrt(3) = 0.577
    assert (found.mean, found.error, found.degrees) == pytest.approx((2.0, 0.57735, 2.0), rel=1e-5)
    assert found.half() == pytest.approx(4.302653 * 0.57735, rel=1e-5)
    assert found.over == "paired over 3 seeds"


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_paired_is_scipys_ttest_rel(n, alpha):
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=n) + 1, rng.normal(size=n)
    found, expected = paired(a.tolist(), b.tolist()), stats.ttest_rel(a, b)
    low, high = expected.confidence_interval(1 - alpha)
    half = found.half(alpha)
    assert (found.mean - half, found.mean + half) == pytest.approx((low, high), rel=1e-9)
    assert (found.is_positive(alpha) or found.is_negative(alpha)) == (expected.pvalue < alpha)
    exactly = found.half(float(expected.pvalue))  # at a level of the p-value the interval ends at 0
    assert abs(found.mean) == pytest.approx(exactly, rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 5), (2, 9)])
def test_unpaired_is_scipys_ttest_ind_with_unequal_variances(n, m):
    rng = np.random.default_rng(n + m)
    a, b = rng.normal(size=n) + 2, 3 * rng.normal(size=m)
    found = welch(a.tolist(), b.tolist())
    low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert (found.mean - found.half(), found.mean + found.half()) == pytest.approx((low, high), rel=1e-9)
    assert found.over == f"{n} and {m} seeds, unpaired"


def test_an_interval_over_images_is_normal_and_without_an_error_there_is_none():
    assert from_errors(1.0, 0.3, 0.4).half() == pytest.approx(1.959964 * 0.5, rel=1e-6)
    assert from_errors(1.0, 0.3, 0.4).half(0.01) == pytest.approx(stats.norm.ppf(0.995) * 0.5, rel=1e-9)
    nothing = from_errors(1.0, None, 0.4)
    assert (nothing.half(), nothing.is_positive(), nothing.is_negative()) == (None, False, False)


def test_equal_values_of_every_seed_have_no_error():
    assert paired([2.0, 3.0], [1.0, 2.0]).half() == 0.0
    assert welch([2.0, 2.0], [1.0, 1.0]) == MeanDifference(1.0, 0.0, 2.0, "seeds", "2 and 2 seeds, unpaired")


def of_seeds(beta, values, first=0, **more):
    return [make_record(beta, first + i, 3.0, value, more) for i, value in enumerate(values)]


def difference(records, images=None, **options):
    """Of the two rows of a table: the first minus the second."""
    first, second = table_with_images(records, images or {}).rows
    return cost_difference(first, second, "test", **options)


def test_common_seeds_are_paired_whatever_their_order():
    records = [*of_seeds(1, [20.759, 22.604, 18.627]), *reversed(of_seeds(2, [20.0, 22.0, 18.0]))]
    found = difference(records)
    expected = stats.ttest_1samp(SEEDS, 0).confidence_interval(0.95)
    assert (found.mean - found.half(), found.mean + found.half()) == pytest.approx(tuple(expected), rel=1e-9)
    assert (found.source, found.over) == ("seeds", "paired over 3 seeds")


def test_a_seed_that_one_alone_has_is_left_out_of_the_pairs():
    found = difference([*of_seeds(1, [21.0, 23.0, 99.0]), *of_seeds(2, [20.0, 20.0])])
    assert (found.mean, found.degrees) == (2.0, 1)


def test_without_two_common_seeds_it_is_welchs():
    found = difference([*of_seeds(1, [21.0, 23.0]), *of_seeds(2, [20.0, 20.5, 21.0], first=1)])
    assert found == welch([24.0, 26.0], [23.0, 23.5, 24.0])


RATES = {"a": np.array([1.0, 2.0, 6.0]), "b": np.array([1.0, 1.0, 1.0])}
DISTORTIONS = {"a": np.array([10.0, 20.0, 30.0]), "b": np.array([9.0, 21.0, 27.0])}


def test_one_seed_is_paired_by_the_positions_of_the_images():
    """D + 2 R of the first minus the second, at positions 0, 1, 2: 1 + 0, -1 + 2, 3 + 10 = 1, 1, 13."""
    images = {
        0: ([0, 1, 2], RATES["a"], DISTORTIONS["a"]),
        1: ([2, 0, 1], RATES["b"], DISTORTIONS["b"][[2, 0, 1]]),
    }
    records = [make_record(1, rate=3.0, distortion=20.0), make_record(2, rate=1.0, distortion=19.0)]
    found = difference(records, images, beta=2.0)
    assert found.mean == pytest.approx(5.0, rel=1e-12)
    assert found.error == pytest.approx(math.sqrt((16 + 16 + 64) / 2 / 3), rel=1e-12)
    assert (found.source, found.over) == ("images", "paired over 3 test images")
    images[1] = ([2, 7, 1], *images[1][1:])  # of image 0 the second knows nothing, and 7 is not of the first
    assert difference(records, images).over == "paired over 2 test images"


def test_over_images_seeds_are_averaged_first():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 2, 50))  # runs; rate and distortion; images
    records = [make_record(beta, seed) for beta in (1, 2) for seed in (0, 1)]
    images = {i: (np.arange(50), *values[i]) for i in range(4)}
    found = difference(records, images, beta=0.5, source="images")
    costs = values[:, 1] + 0.5 * values[:, 0]
    expected = stats.ttest_rel(costs[:2].mean(0), costs[2:].mean(0))
    assert found.mean == pytest.approx(costs[:2].mean() - costs[2:].mean(), rel=1e-9)
    assert found.mean / found.error == pytest.approx(expected.statistic, rel=1e-9)


def test_without_numbers_of_every_image_standard_errors_are_taken_for_independent():
    errors = {"elbo_se": 0.3, "rate_se": 0.1, "distortion_se": 0.25}
    records = [*of_seeds(1, [21.0], **errors), *of_seeds(2, [20.0], **errors)]
    assert difference(records).error == pytest.approx(0.3 * math.sqrt(2))
    at_most = difference(records, beta=4.0).error  # rate and distortion of one image may rise together
    assert at_most == pytest.approx((0.25 + 4 * 0.1) * math.sqrt(2))
    assert difference([*of_seeds(1, [21.0]), *of_seeds(2, [20.0])]) == MeanDifference(1.0)


def test_of_a_record_with_an_elbo_alone_the_elbo_is_compared():
    records = [*of_seeds(1, [21.0, 21.5]), *of_seeds(2, [20.0, 20.5])]
    for record in records:
        record["metrics"] = {"test/elbo": record["metrics"]["test/elbo"]}
    assert difference(records).mean == pytest.approx(1.0)
    assert difference(records, beta=2.0) is None


def test_an_autoencoder_has_no_elbo_to_compare():
    autoencoder = make_record(None, rate=None, swept={"model": "ae"})
    assert difference([autoencoder, make_record(1, swept={"model": "vae"})]) is None


SWEEPS = 4000


def test_the_paired_interval_has_its_level_and_the_power_that_overlap_lacks():
    """Three seeds whose chance is mostly common to both: SD 0.5 of a seed, 0.15 of what each run adds.

    The power is that of the non-central t distribution; 95% intervals that must not overlap find half of it.
    """
    rng = np.random.default_rng(0)
    apart, noise, n = 0.5, 0.15, 3
    seeds, runs = 0.5 * rng.normal(size=(SWEEPS, 1, n)), noise * rng.normal(size=(SWEEPS, 2, n))
    a, b = np.moveaxis(seeds + runs, 1, 0)
    rate = {
        shift: np.mean(
            [paired((x + shift).tolist(), y.tolist()).is_positive() for x, y in zip(a, b, strict=True)]
        )
        for shift in (0.0, apart)
    }
    critical = stats.t.ppf(0.975, n - 1)
    power = stats.nct.sf(critical, n - 1, apart / (noise * math.sqrt(2 / n)))
    for shift, expected in ((0.0, 0.025), (apart, power)):
        assert rate[shift] == pytest.approx(
            expected, abs=SIGMAS * math.sqrt(expected * (1 - expected) / SWEEPS)
        )
    halves = [critical * side.std(axis=1, ddof=1) / math.sqrt(n) for side in (a, b)]
    overlap = np.mean(a.mean(1) + apart - b.mean(1) > halves[0] + halves[1])
    assert overlap < rate[apart] / 2
