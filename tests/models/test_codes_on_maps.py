"""Codebooks on maps: which numbers make a code, in which order codes are, how they restart."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

from builders import random
from vaelab.functional.randomness import generator
from vaelab.models.codebooks import Codebook, revived
from vaelab.models.priors import FittedCodes, UniformCodes
from vaelab.types import AfterStep

SHAPE = C, H, W = 4, 3, 2
D, K = C * H * W, 5
STEP = AfterStep(lambda value: value, lambda stream: generator(0, stream, 1), first=True)


def codebook(code_dim=C, **settings) -> Codebook:
    torch.manual_seed(0)
    return Codebook(D, K, code_dim, latent_shape=SHAPE, **settings)


# which numbers, in which order


@pytest.mark.parametrize("code_dim", [4, 2])
def test_a_code_is_made_of_the_channels_of_one_place_in_the_order_group_row_column(code_dim):
    posterior, encoded = codebook(code_dim), torch.randn(9, D, generator=random())
    q = posterior(encoded)
    groups = C // code_dim
    assert posterior.code_shape == (groups, H, W)
    assert posterior.places == groups * H * W == q.codes.shape[1]
    maps, chosen, codes = encoded.view(9, *SHAPE), q.loc.view(9, *SHAPE), q.codes.view(9, groups, H, W)
    for b, g, row, column in product(range(9), range(groups), range(H), range(W)):
        channels = slice(g * code_dim, (g + 1) * code_dim)
        point = maps[b, channels, row, column]
        nearest = (posterior.codebook - point).square().sum(1).argmin()
        assert codes[b, g, row, column] == nearest
        assert torch.equal(chosen[b, channels, row, column], posterior.codebook[nearest])


def test_no_code_dim_takes_all_channels_of_a_place():
    assert codebook(None).code_shape == (1, H, W)
    assert codebook(None).codebook.shape == (K, C)


def test_codes_and_their_z_are_one_to_one():
    posterior = codebook(2)
    codes = torch.randint(0, K, (3, 7, posterior.places), generator=random())
    assert torch.equal(posterior.nearest(posterior.vectors(codes)), codes)


def test_a_vector_is_a_map_with_one_place():
    torch.manual_seed(0)
    flat = Codebook(D, K, 2)
    torch.manual_seed(0)
    place = Codebook(D, K, 2, latent_shape=(D, 1, 1))
    encoded = torch.randn(6, D, generator=random())
    for one, other in zip(flat(encoded), place(encoded), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(flat(encoded).loc, flat.codebook[flat(encoded).codes].flatten(-2))


@pytest.mark.parametrize("code_dim", [3, 8])
def test_a_code_has_a_share_of_the_channels(code_dim):
    with pytest.raises(ValueError, match=r"^code_dim must divide the map's 4 channels, got"):
        codebook(code_dim)


# priors over the places of a map


def test_the_uniform_rate_is_the_number_of_places_times_log_k():
    posterior = codebook()
    prior = UniformCodes().bind(posterior, posterior)
    q = posterior(torch.randn(9, D, generator=random()))
    torch.testing.assert_close(prior.log_prob_of(q.codes), torch.full((9,), -H * W * math.log(K)))
    torch.testing.assert_close(prior.log_prob(q.loc), prior.log_prob_of(q.codes))


def test_the_fitted_prior_has_the_frequencies_of_each_place_and_samples_them():
    posterior, prior = codebook(), FittedCodes(H * W, K, decay=0.0, smoothing=0.1)
    encoded = torch.randn(400, D, generator=random()) + torch.linspace(-1, 1, D)
    q = posterior(encoded)
    prior.after_step([q._make(part[:150] for part in q), q._make(part[150:] for part in q)], STEP)
    share = np.stack([np.bincount(q.codes[:, n], minlength=K) / 400 for n in range(H * W)])
    p = 0.9 * share + 0.1 / K
    density = prior.bind(posterior, posterior)
    expected = [sum(math.log(p[n, code]) for n, code in enumerate(row)) for row in q.codes.tolist()]
    np.testing.assert_allclose(density.log_prob_of(q.codes), expected, rtol=1e-5)
    assert np.ptp(p, axis=0).max() > 0.2  # places differ

    sampled = posterior.nearest(density.sample(torch.randn(20_000, D, generator=random(1))))
    for n in range(H * W):
        counts = np.bincount(sampled[:, n], minlength=K)
        assert scipy_stats.chisquare(counts, 20_000 * p[n]).pvalue > 1e-4  # false alarms: 6 in 10,000


# restarts


def test_codes_below_the_share_of_the_mean_count_restart_as_codes_of_average_use():
    counts = torch.tensor([8.0, 1.0, 0.9, 2.1])  # the mean is 3, the bound 0.3 * 3 = 0.9
    sums, book, restart = (torch.randn(4, 2, generator=random(n)) for n in range(3))
    new = revived(counts, sums, book, restart, 0.31)
    typical = 3.0
    assert new[0].tolist() == pytest.approx([8.0, 1.0, typical, 2.1])
    kept = [0, 1, 3]
    for before, after in ((sums, new[1]), (book, new[2])):
        assert torch.equal(after[kept], before[kept])
    torch.testing.assert_close(new[2][2], restart[2])
    torch.testing.assert_close(new[1][2], typical * restart[2])
    assert torch.equal(revived(counts, sums, book, restart, 0.29)[2], book)


def restarted(step: AfterStep, code: int = 3):
    """The codebook after a step before which one code had not been used for long, and the step's points."""
    posterior = codebook(decay=0.9, revive_below=0.2)
    posterior.counts[:] = 40.0
    posterior.counts[code] = 0.01
    posterior.codebook[code] = 50.0  # too far off to be chosen
    q = posterior(torch.randn(20, D, generator=random()))
    posterior.after_step([q], step)
    return posterior, q.encoded.view(20, C, H * W).transpose(1, 2).flatten(0, 1)


def test_a_restart_is_a_point_of_the_step_by_seed_and_step_alone():
    posterior, points = restarted(STEP)
    again, _ = restarted(STEP)
    assert torch.equal(posterior.codebook, again.codebook)
    assert (points == posterior.codebook[3]).all(1).sum() == 1
    others = posterior.counts[[0, 1, 2, 4]].sum()
    assert posterior.counts[3].item() == pytest.approx((others + 0.9 * 0.01).item() / K)  # the mean count
    other, _ = restarted(STEP._replace(generator=lambda stream: generator(0, stream, 2)))
    assert (points == other.codebook[3]).all(1).sum() == 1
    assert not torch.equal(posterior.codebook[3], other.codebook[3])
    # other codes are as without restarts
    kept = [0, 1, 2, 4]
    assert torch.equal(posterior.codebook[kept], other.codebook[kept])


def test_every_device_restarts_its_codes_at_the_points_of_the_first():
    sent = []
    restarted(STEP._replace(total=lambda value: sent.append(value) or value, first=False))
    assert [tuple(value.shape) for value in sent] == [(K,), (K, C), (K, C)]
    assert sent[-1].eq(0).all()
    assert not sent[-2].eq(0).all()


def test_restarts_need_moving_averages():
    with pytest.raises(ValueError, match=r"^revive_below=0\.1 needs moving averages: set decay"):
        codebook(revive_below=0.1)
    with pytest.raises(ValueError, match=r"^revive_below must be a finite number >= 0 and < 1"):
        codebook(decay=0.9, revive_below=1.0)
