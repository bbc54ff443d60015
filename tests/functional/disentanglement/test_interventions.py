import numpy as np
import pytest
from planted_codes import codes, grid

from support.chance import SIGMAS
from vaelab.functional.disentanglement import beta_vae_score, factor_vae_score, irs

FACTORS = grid(repeats=3)
FEW = {"batch": 16, "train": 600, "test": 300}


def test_a_perfect_code_stands_still_where_it_should():
    found = factor_vae_score(codes(FACTORS, noise=0.05), FACTORS, **FEW)
    assert (found.score, found.train_score, found.active_dimensions) == (1, 1, 3)
    assert (found.votes == np.diag(found.votes.diagonal())).all()
    assert found.votes.sum() == 600


def test_collapsed_dimensions_take_no_part():
    """Without pruning a constant dimension would win every vote, and the score be 1/F."""
    z = codes(FACTORS, empty=2)
    z[:, 3] = 0.03 * np.random.default_rng(0).standard_normal(len(z))  # below 0.05
    found = factor_vae_score(z, FACTORS, **FEW)
    assert (found.score, found.active_dimensions) == (1, 3)
    assert (found.votes[3:] == 0).all()
    assert factor_vae_score(z, FACTORS, threshold=0.01, **FEW).active_dimensions == 4
    assert factor_vae_score(z, FACTORS, threshold=0.0, **FEW).active_dimensions == 4
    collapsed = factor_vae_score(0.01 * z, FACTORS, **FEW)
    assert (collapsed.score, collapsed.train_score, collapsed.active_dimensions) == (0, 0, 0)


def test_votes_are_those_of_the_definition():
    """One dimension holds two factors: it must vote for one of both, and the other's votes go wrong."""
    factors = grid(4, 4, 4)
    z = np.stack([factors[:, 0] + 10.0 * factors[:, 1], factors[:, 2]], axis=1)
    found = factor_vae_score(z, factors, batch=64, train=3000, test=3000)
    # holding v_1 leaves 1/101 of z_0's variance; holding v_0 leaves 100/101 of z_0's and all of z_1's
    assert found.votes[0, 1] == found.votes[:, 1].sum()
    assert found.votes[1, 2] == found.votes[:, 2].sum()
    # the votes for v_0 are split and count for neither
    assert found.score == pytest.approx(2 / 3, abs=SIGMAS * 0.47 / np.sqrt(3000))


@pytest.mark.parametrize("score", [factor_vae_score, beta_vae_score])
def test_chance_is_one_over_the_number_of_factors(score):
    z = np.random.default_rng(1).standard_normal((600, 4))
    found = score(z, grid(repeats=10), batch=16, train=3000, test=3000)
    assert found.score == pytest.approx(1 / 3, abs=0.08)


def test_beta_vaes_score_is_that_of_its_definition():
    """F - 1 dimensions may be enough (Kim & Mnih 2018): the third factor is the one that none shows."""
    factors = grid(4, 4, 4)
    assert beta_vae_score(codes(factors)[:, :2], factors, batch=64, train=900, test=600).score > 0.98
    assert factor_vae_score(codes(factors)[:, :2], factors, **FEW).score < 0.8


@pytest.mark.parametrize("size", [{"batch": 1}, {"train": 0}, {"test": 0}])
def test_sizes_are_checked(size):
    with pytest.raises(ValueError, match="must be at least"):
        factor_vae_score(codes(FACTORS), FACTORS, **size)


def test_robustness_by_hand():
    """z = v_0 + v_1 of two binary factors: it moves by 1 from its mean, by 1/2 with one held; z_1 = 3 v_0."""
    factors = grid(2, 2)
    z = np.stack([factors.sum(1), 3 * factors[:, 0], np.ones(4)], axis=1).astype(float)
    found = irs(z, factors)
    np.testing.assert_allclose(found.robustness[:2], [[0.5, 0.5], [1, 0]])
    assert found.per_dimension[:2].tolist() == pytest.approx([0.5, 1])
    assert found.parents.tolist() == [0, 0, -1]
    assert np.isnan(found.per_dimension[2])
    assert found.active_dimensions == 2
    assert found.score == pytest.approx((1 * 0.5 + 1.5 * 1) / 2.5)  # weighted by the largest deviations


def test_robustness_is_that_of_its_definition():
    factors = grid(3, 30)
    z = np.random.default_rng(5).standard_normal((90, 2)) + factors
    bins = np.digitize(factors[:, 1], np.linspace(0, 29, 21)[:-1])
    for factor_bins, column in ((20, bins), (None, factors[:, 1])):
        found = irs(z, factors, quantile=0.9, factor_bins=factor_bins)
        for d in range(2):
            parts = [z[column == value, d] for value in sorted(set(column.tolist()))]
            deviation = np.mean([np.quantile(abs(part - part.mean()), 0.9) for part in parts])
            expected = 1 - deviation / abs(z[:, d] - z[:, d].mean()).max()
            assert found.robustness[d, 1] == pytest.approx(expected)


@pytest.mark.parametrize("score", [factor_vae_score, beta_vae_score])
def test_the_score_is_of_what_the_classifier_has_not_seen(score):
    """Fourteen points of noise in twelve dimensions can be learnt by heart, and mean nothing."""
    z = np.random.default_rng(1).standard_normal((600, 12))
    found = score(z, grid(repeats=10), batch=16, train=14, test=3000)
    assert found.train_score > 0.7
    assert found.score == pytest.approx(1 / 3, abs=0.1)
