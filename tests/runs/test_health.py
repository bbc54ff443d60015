"""The verdict on numbers of models that are healthy, pruned, collapsed or deterministic."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from vaelab.functional.closed_forms import linear_beta_vae
from vaelab.metrics import ActiveUnits, DecoderTest
from vaelab.runs.health import missed_target, verdict

HEALTHY = {
    "test/rate": 12.0,
    "test/rate_se": 0.2,
    "test/mutual_information_low": 4.9,
    "test/mutual_information_high": 5.3,
    "test/active_units": 4.0,
    "test/kl_per_dim": [3.0, 3.0, 3.0, 3.0],
    "test/shuffle_gap": 30.0,
    "test/shuffle_gap_se": 0.5,
    "test/prior_gap": 28.0,
    "test/prior_gap_se": 0.6,
}
NAN = float("nan")


@pytest.mark.parametrize(
    ("changed", "label", "reason"),
    [
        ({}, "healthy", "4 of 4 dimensions are active; the rate is 12.00 nats per image"),
        ({"active_units": 3.0}, "pruned", "3 of 4 dimensions are active"),
        ({"active_units": 1.0, "shuffle_gap": 1.1}, "pruned", "1 of 4 dimensions are active"),
        ({"active_units": 0.0}, "collapsed", "no unit is active"),
        ({"shuffle_gap": 0.99}, "collapsed", "another image's code costs the decoder 0.99 ± 0.5 nats"),
        ({"shuffle_gap": 1.01}, "healthy", "another image's code costs the decoder 1.01 ± 0.5 nats"),
        ({"shuffle_gap": 0.001, "shuffle_gap_se": 0.0004}, "healthy", "0.001 ± 0.0004"),
        ({"shuffle_gap": 0.0, "shuffle_gap_se": 0.0}, "collapsed", "the decoder ignores the code"),
        ({"rate": 0.01}, "healthy", "the rate is 0.01"),  # no number of nats decides
        ({"rate": None, "active_units": None}, "deterministic", "the decoder uses it"),
        ({"rate": NAN, "shuffle_gap": 0.2}, "deterministic", "the decoder ignores it"),
        ({"rate": NAN, "shuffle_gap": None}, "deterministic", "no rate that could collapse"),
        ({"shuffle_gap": None}, "healthy", "4 of 4 dimensions are active"),  # not measured
        ({"active_units": None}, "healthy", "the rate is 12.00"),
        ({"kl_per_dim": None, "active_units": 2.0}, "healthy", "2 dimensions are active"),
        # a single image, or a record of an earlier version
        ({"shuffle_gap": 0.1, "shuffle_gap_se": NAN}, "healthy", "0.1 nats"),
        ({"shuffle_gap": -0.1, "shuffle_gap_se": None}, "collapsed", "saves the decoder 0.1 nats"),
        # an estimate below 0 that may be 0, as of constant images
        (
            {"shuffle_gap": -16.0, "shuffle_gap_se": 27.0}, "collapsed",
            "another image's code costs the decoder nothing (-16 ± 27 nats)",
        ),
        ({"shuffle_gap": -16.0, "shuffle_gap_se": 7.0}, "collapsed", "saves the decoder 16 ± 7 nats"),
        ({"rate": -3.04}, "healthy", "the rate is -3.04 nats per image, an estimate below 0"),
    ],
)  # fmt: skip
def test_the_verdict(changed, label, reason):
    found = verdict(HEALTHY | {f"test/{name}": value for name, value in changed.items()})
    assert found.label == label
    assert reason in found.reason


@pytest.mark.parametrize(
    ("changed", "ground"),
    [
        ({}, ""),
        ({"test/active_units": 3.0}, "3 of 4"),
        ({"test/active_units": 0.0}, "no active unit"),
        ({"test/shuffle_gap": 0.37, "test/shuffle_gap_se": 0.21}, "shuffle gap 0.37 ± 0.21"),
        ({"test/rate": NAN, "test/shuffle_gap": -0.1, "test/shuffle_gap_se": None}, "shuffle gap -0.1"),
        (
            {"test/distortion": 27.842, "test/constant_distortion": 27.166},
            "distortion 27.84, constant 27.17",
        ),
        ({"train/rate_target": 10, "train/rate_reached": 0.26}, "rate 0.26, target 10.00"),
    ],
)
def test_the_ground_is_the_number_that_decided(changed, ground):
    assert verdict(HEALTHY | changed).ground == ground


@pytest.mark.parametrize(
    ("units", "groups", "label", "reason"),
    [
        ([1.0, 3.0], ("active", "active"), "healthy", "4 of 4 dimensions are active; the rate is"),
        ([2.0, 1.0], ("active", "active"), "pruned", "3 of 4 dimensions are active; the rate is"),
        ([1.0, 0.0], ("active", "collapsed"), "pruned", "group 1 has collapsed, it has no active unit"),
        ([0.0, 3.0], ("collapsed", "active"), "pruned", "group 0 has collapsed, it has no active unit"),
        ([0.0, 0.0], ("collapsed", "collapsed"), "collapsed", "no unit is active"),
        ([NAN, NAN], (), "healthy", "4 of 4 dimensions are active"),  # a single image
    ],
)
def test_each_group_of_a_hierarchy_has_a_verdict(units, groups, label, reason):
    total = 4.0 if units[0] != units[0] else sum(units)
    found = verdict(HEALTHY | {"test/active_units": total, "test/active_units_per_group": units})
    assert (found.groups, found.label) == (groups, label)
    assert reason in found.reason
    assert found.reason.count("has collapsed") == (label == "pruned") * groups.count("collapsed")


def test_the_ground_names_the_collapsed_groups():
    metrics = {"test/active_units": 2.0, "test/active_units_per_group": [2.0, 0.0, 0.0]}
    assert verdict(HEALTHY | metrics).ground == "2 of 4, none of group 1 and 2"


def test_a_flat_model_has_no_groups():
    assert verdict(HEALTHY).groups == ()


def test_it_names_its_evidence():
    found = verdict(HEALTHY)
    expected = {name.removeprefix("test/"): value for name, value in HEALTHY.items()}
    del expected["kl_per_dim"]
    assert found.evidence == expected | {"latent_dim": 4.0}
    assert verdict({**HEALTHY, "val/rate": 1.0, "val/active_units": 4.0}, "val").evidence["rate"] == 1.0


@pytest.mark.parametrize("metrics", [{"test/mse": 0.1, "val/active_units": 3.0}, {"test/rate": 0.1}])
def test_nothing_that_decides_is_no_verdict(metrics):
    assert verdict(metrics) is None


def at_the_optimum(
    eigenvalues: list[float], sigma: float, latent_dim: int, images: int = 2000, seed: int = 0
) -> dict[str, float | list[float]]:
    """The metrics of probabilistic PCA at its optimum, in the principal basis, on sampled images."""
    exact = linear_beta_vae(eigenvalues, sigma, 1.0, latent_dim)
    random = np.random.default_rng(seed)
    x = random.normal(size=(images, len(eigenvalues))) * np.sqrt(eigenvalues)
    kept = np.array(eigenvalues)[:latent_dim]
    explained = np.sqrt(np.clip(1 - sigma**2 / kept, 0, None))
    loc = explained * x[:, :latent_dim] / np.sqrt(kept)
    scale = np.minimum(sigma / np.sqrt(kept), 1)
    z = loc + scale * random.normal(size=loc.shape)
    weight = explained * np.sqrt(kept)

    def distortion(rows: np.ndarray, codes: np.ndarray) -> Tensor:
        error = x[rows]
        error[:, :latent_dim] -= weight * codes
        return torch.tensor(-norm.logpdf(error, 0, sigma).sum(1))

    gaps, units = DecoderTest(), ActiveUnits(latent_dim)
    units.update(torch.tensor(loc))
    gaps.update(
        position=torch.arange(images),
        z=torch.tensor(z)[None],
        z_prior=torch.tensor(random.normal(size=z.shape)),
        distortion=distortion(np.arange(images), z)[None],
        distortion_of=lambda other, rows: distortion(rows.numpy(), other.numpy()),
    )
    metrics = gaps.compute() | {"active_units": units.compute()}
    kl = exact.kl_per_dim + [0.0] * (latent_dim - exact.active_units)
    measured = {f"test/{name}": value.item() for name, value in metrics.items()}
    return measured | {"test/rate": exact.rate, "test/kl_per_dim": kl}


def test_half_the_variance_of_one_pixel_explained_is_healthy():
    """Data variance 2, sigma 1: a rate of 0.347 nats and a shuffle gap of 1 are all there is."""
    metrics = at_the_optimum([2.0], 1.0, 1)
    assert metrics["test/rate"] == pytest.approx(0.347, abs=0.001)
    assert metrics["test/shuffle_gap"] == pytest.approx(1.0, abs=4 * metrics["test/shuffle_gap_se"])
    assert metrics["test/shuffle_gap_se"] < 0.1
    found = verdict(metrics)
    assert found.label == "healthy"
    assert "1 of 1 dimensions are active" in found.reason


@pytest.mark.parametrize("unused", [[0.8], [0.9, 0.5, 0.1]])
def test_dimensions_below_the_noise_are_pruned(unused):
    found = verdict(at_the_optimum([4.0, 2.0, *unused], 1.0, 2 + len(unused)))
    assert found.label == "pruned"
    assert f"2 of {2 + len(unused)} dimensions are active" in found.reason


def test_a_large_image_whose_variance_is_below_the_noise_is_collapsed():
    found = verdict(at_the_optimum([0.9] * 3000, 1.0, 2, images=200))
    assert found.label == "collapsed"
    assert "no unit is active" in found.reason


def test_how_often_a_decoder_that_barely_uses_the_code_is_collapsed():
    """At a gap of g standard errors, the verdict is collapsed with the probability P(N(g, 1) < 2).

    The decoder's mean is off by less than its noise can show: per-image differences of distortion are
    Gaussian of mean 0 and variance 1. The rate of false alarms, 2.3% without any gap, is held within four of
    its standard errors over 1,000 test sets.
    """
    random = np.random.default_rng(0)
    sets = 1000
    differences = random.normal(size=(sets, 100))
    for gap in (0.0, 0.4):
        gaps = differences.mean(1) + gap
        errors = differences.std(1, ddof=1) / 10
        metrics = [
            {"test/rate": 1.0, "test/shuffle_gap": g, "test/shuffle_gap_se": e}
            for g, e in zip(gaps, errors, strict=True)
        ]
        share = np.mean([verdict(each).label == "healthy" for each in metrics])
        expected = norm.sf(2 - 10 * gap)
        assert share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / sets))


@pytest.mark.parametrize(
    ("of", "target", "reached", "error", "missed"),
    [
        ("distortion", 20.0, 221.6, 0.5, True),
        ("distortion", 20.0, 20.21, 0.01, True),  # a constant image has 30, and 2% of the way is 0.2
        ("distortion", 20.0, 20.19, 0.01, False),
        ("distortion", 20.0, 21.0, 0.6, False),  # within two standard errors
        ("distortion", 20.0, 12.0, 0.1, False),  # below it, the constraint holds
        ("distortion", -500.0, -489.0, 0.5, True),  # a density of grey values: 2% of the way is 10.6
        ("distortion", -500.0, -490.0, 0.5, False),
        ("distortion", 30.0, 30.1, 0.01, True),  # there is no way to go
        ("rate", 10.0, 9.7, 0.05, True),
        ("rate", 10.0, 10.3, 0.05, True),
        ("rate", 10.0, 10.16, 0.04, False),
        ("rate", 200.0, 1.1, 0.1, True),
        ("rate", 10.0, 10.3, NAN, True),
    ],
)
def test_a_missed_target_is_off_target_and_not_healthy(of, target, reached, error, missed):
    metrics = HEALTHY | {
        f"train/{of}_target": target, f"train/{of}_reached": reached, f"train/{of}_reached_se": error,
        "test/constant_distortion": 30.0,
    }  # fmt: skip
    text = f"target not reached: the {of} of training images is {reached:.2f} nats, the target {target:.2f}"
    assert missed_target(metrics) == (text if missed else None)
    found = verdict(metrics)
    assert found.label == ("off target" if missed else "healthy")
    assert (text in found.reason) == missed
    collapsed = verdict(metrics | {"test/active_units": 0.0})
    assert collapsed.label == "collapsed"
    assert (text in collapsed.reason) == missed


def test_without_a_target_none_is_missed():
    assert missed_target(HEALTHY) is None
    assert missed_target(HEALTHY | {"train/rate_target": 3.0, "train/rate_reached": None}) is None


@pytest.mark.parametrize(
    ("distortion", "error", "label"),
    [(40.0, 0.5, "untrained"), (27.9, 0.5, "healthy"), (20.0, 0.5, "healthy"), (27.6, NAN, "untrained")],
)
def test_a_decoder_that_is_worse_than_a_constant_image_is_untrained(distortion, error, label):
    metrics = {"test/distortion": distortion, "test/constant_distortion": 27.3}
    metrics |= {"test/distortion_se": error, "test/constant_distortion_se": error, "test/shuffle_gap": -23.0}
    found = verdict(HEALTHY | metrics)
    if label == "untrained":
        assert found.label == label
        assert "that of the best constant image 27.3" in found.reason
        assert "another image's code saves the decoder 23 ± 0.5 nats" in found.reason
    else:
        assert verdict(HEALTHY | metrics | {"test/shuffle_gap": 30.0}).label == label


def test_a_rate_below_zero_is_said_to_be_an_estimate():
    assert (
        "the rate is -3.04 nats per image, an estimate below 0"
        in verdict(HEALTHY | {"test/rate": -3.04}).reason
    )


def test_few_images_have_no_verdict():
    assert verdict(HEALTHY | {"test/aggregate_images": 19.0}) is None
    assert verdict(HEALTHY | {"test/aggregate_images": 20.0}).label == "healthy"
