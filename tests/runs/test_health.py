"""The verdict on numbers of models that are healthy, partly or wholly collapsed, or deterministic."""

import pytest

from vaelab.runs.health import verdict

HEALTHY = {
    "test/rate": 12.0,
    "test/mutual_information_low": 5.1,
    "test/active_units": 4.0,
    "test/kl_per_dim": [3.0, 3.0, 3.0, 3.0],
    "test/shuffle_gap": 30.0,
    "test/prior_gap": 28.0,
}


@pytest.mark.parametrize(
    ("changed", "label", "reason"),
    [
        ({}, "healthy", "all 4 dimensions are active"),
        ({"active_units": 3.0}, "partial", "3 of 4 dimensions are active"),
        ({"active_units": 1.0, "shuffle_gap": 0.6}, "partial", "1 of 4 dimensions are active"),
        ({"rate": 0.49}, "collapsed", "the rate is 0.49 nats per image"),
        ({"active_units": 0.0}, "collapsed", "no unit is active"),
        ({"shuffle_gap": 0.1}, "collapsed", "another image's code costs the decoder 0.10 nats"),
        ({"rate": None, "mutual_information_low": None}, "deterministic", "the decoder uses it"),
        ({"rate": float("nan"), "shuffle_gap": 0.2}, "deterministic", "the decoder ignores it"),
        ({"shuffle_gap": None}, "healthy", "all 4 dimensions are active"),  # not measured
        ({"active_units": None}, "healthy", "the rate is 12.00"),
        ({"rate": 0.5, "shuffle_gap": 0.5}, "healthy", "all 4 dimensions"),  # not below
    ],
)
def test_the_verdict(changed, label, reason):
    found = verdict(HEALTHY | {f"test/{name}": value for name, value in changed.items()})
    assert found.label == label
    assert reason in found.reason


def test_it_names_its_evidence():
    found = verdict(HEALTHY)
    assert found.evidence == {
        "rate": 12.0,
        "mutual_information_low": 5.1,
        "active_units": 4.0,
        "shuffle_gap": 30.0,
        "prior_gap": 28.0,
        "latent_dim": 4.0,
    }
    assert verdict({**HEALTHY, "val/rate": 1.0}, "val").evidence["rate"] == 1.0


def test_nothing_measured_is_no_verdict():
    assert verdict({"test/mse": 0.1, "val/rate": 3.0}) is None
