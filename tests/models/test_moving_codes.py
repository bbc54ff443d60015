"""Codes and their frequencies as moving averages: the formula, when they move, what refuses them."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy import stats as scipy_stats

import vaelab
from builders import data_module, images, lit, random, trainer, vae
from cli_runner import trained
from vaelab.functional.images import to_float
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.codebooks import Codebook, moved_averages
from vaelab.models.networks import mlp
from vaelab.models.objectives import CodebookLoss, Commitment, Distortion, Objective
from vaelab.models.priors import FittedCodes
from vaelab.models.requirements import Misfit
from vaelab.training.assembly import build_data

D, K, PLACE, DECAY = 6, 5, 2, 0.9
PLACES = D // PLACE


def model(decay=DECAY, **terms) -> Autoencoder:
    torch.manual_seed(0)
    encoder, decoder = mlp((1, 4, 4), D, D, 1, (8,))
    objective = Objective({"distortion": Distortion(), "commitment": Commitment(0.25), **terms})
    prior = FittedCodes(PLACES, K, decay=DECAY, smoothing=0.1)
    return Autoencoder(encoder, decoder, Codebook(D, K, PLACE, decay), prior, vae().likelihood, objective)


def test_the_averages_follow_their_formula_step_by_step():
    source = random()
    start = torch.randn(K, PLACE, generator=source)
    state = torch.ones(K), start.clone(), start.clone()
    counts, sums = np.ones(K), start.double().numpy().copy()
    for _ in range(4):
        codes = torch.randint(0, K - 1, (30,), generator=source)  # the last is never chosen
        points = torch.randn(30, PLACE, generator=source)
        chosen, added = torch.zeros(K), torch.zeros(K, PLACE)
        counts, sums = DECAY * counts, DECAY * sums
        for code, point in zip(codes.tolist(), points, strict=True):
            chosen[code] += 1
            added[code] += point
            counts[code] += (1 - DECAY) * 1
            sums[code] += (1 - DECAY) * point.double().numpy()
        state = moved_averages(*state, chosen, added, DECAY)
    np.testing.assert_allclose(state[0], counts, rtol=1e-5)
    np.testing.assert_allclose(state[1], sums, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state[2], sums / counts[:, None], rtol=1e-4, atol=1e-6)
    assert torch.equal(state[2][-1], start[-1])


def test_a_code_that_is_not_chosen_for_long_stays_and_can_come_back():
    start = torch.tensor([[3.0], [-2.0]])
    state = torch.ones(2), start.clone(), start.clone()
    for _ in range(2000):  # 0.9^2000 underflows
        state = moved_averages(*state, torch.tensor([1.0, 0.0]), torch.tensor([[1.0], [0.0]]), DECAY)
    assert 0 < state[0][1] < 1e-40  # and its quotient with m_i is no number to go by
    assert state[2].tolist() == [[pytest.approx(1.0)], [-2.0]]
    state = moved_averages(*state, torch.tensor([0.0, 4.0]), torch.tensor([[0.0], [10.0]]), DECAY)
    assert state[2].tolist() == [[pytest.approx(1.0)], [pytest.approx(2.5)]]


@pytest.mark.parametrize("accumulated", [1, 2])
def test_training_moves_them_once_an_optimizer_step_by_all_of_its_batches(tmp_path, accumulated):
    whole = model()
    seen = []
    whole.posterior.register_forward_hook(
        lambda module, _, q: seen.append((q, module.codebook.clone())) if module.training else None
    )
    start = [buffer.clone() for buffer in (whole.posterior.counts, whole.posterior.sums)]
    data = data_module(train=20, batch_size=4)  # 5 batches an epoch
    run = trainer(tmp_path, max_epochs=2, accumulate_grad_batches=accumulated)
    run.fit(lit(whole, lr=1e-2), datamodule=data)
    at = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] if accumulated == 1 else [2, 4, 5, 7, 9, 10]
    assert len(seen) == 10

    counts, sums = start
    share, before = torch.full((PLACES, K), 1 / K), 0
    for end in at:
        step = seen[before:end]
        assert all(torch.equal(codebook, step[0][1]) for _, codebook in step)  # the same within a step
        codes = torch.cat([q.codes for q, _ in step])
        points = torch.cat([q.encoded for q, _ in step]).detach().unflatten(1, (PLACES, PLACE))
        for k in range(K):
            mine = codes == k
            counts[k] = DECAY * counts[k] + (1 - DECAY) * mine.sum()
            sums[k] = DECAY * sums[k] + (1 - DECAY) * points[mine].sum(0)
            for n in range(PLACES):
                share[n, k] = DECAY * share[n, k] + (1 - DECAY) * mine[:, n].float().mean()
        before = end
    torch.testing.assert_close(whole.posterior.counts, counts)
    torch.testing.assert_close(whole.posterior.sums, sums)
    torch.testing.assert_close(whole.prior.frequencies, share)
    assert not torch.equal(seen[0][1], whole.posterior.codebook)


def test_a_forward_pass_changes_none_of_them_and_no_gradient_reaches_them():
    whole = model().train()
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    whole(images(7), whole.draw_noise(7, random())).loss.backward()
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())
    assert {"posterior.codebook", "posterior.counts", "posterior.sums", "prior.frequencies"} < before.keys()
    assert "posterior.codebook" not in dict(whole.named_parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in whole.parameters())


# the fitted prior


def fitted() -> Autoencoder:
    whole = model()
    whole.prior.frequencies.copy_(torch.rand(PLACES, K, generator=random(3)).square())
    whole.prior.frequencies[0, 2] = 0
    whole.prior.frequencies /= whole.prior.frequencies.sum(-1, keepdim=True)
    return whole


def test_the_rate_is_the_sum_over_places_of_minus_log_p():
    whole = fitted()
    stats = whole(images(9), whole.draw_noise(9, random(), samples=2)).stats
    p = 0.9 * whole.prior.frequencies.double() + 0.1 / K
    expected = [-sum(math.log(p[n, code]) for n, code in enumerate(row)) for row in stats.q.codes.tolist()]
    np.testing.assert_allclose(stats.rate.detach(), expected, rtol=1e-5)
    assert len(set(expected)) > 2
    assert stats.log_p.shape == (2, 9)


def test_its_probabilities_sum_to_one_and_none_is_zero():
    whole = fitted()
    prior = whole.prior.bind(whole.posterior, whole.encode)
    every = torch.cartesian_prod(*[torch.arange(K)] * PLACES)  # (125, 3)
    log_p = prior.log_prob(whole.posterior.codebook[every].flatten(-2))
    assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-5)
    assert log_p.min() >= PLACES * math.log(0.1 / K) - 1e-5


def test_its_samples_have_its_frequencies_at_each_place_independently():
    whole, n = fitted(), 20_000
    prior = whole.prior.bind(whole.posterior, whole.encode)
    z = prior.sample(torch.randn(n, D, generator=random()))
    codes = Counter(map(tuple, whole.posterior.nearest(z).tolist()))
    every = torch.cartesian_prod(*[torch.arange(K)] * PLACES)
    expected = n * prior.log_prob(whole.posterior.codebook[every].flatten(-2)).double().exp().numpy()
    found = np.array([codes[tuple(row)] for row in every.tolist()])
    often = expected >= 5  # the rest as one
    pooled = [np.append(part[often], part[~often].sum()) for part in (found, expected)]
    pooled[1] *= n / pooled[1].sum()
    assert scipy_stats.chisquare(*pooled).pvalue > 1e-3


# what makes no sense


def test_codes_are_moved_by_one_of_the_two_ways():
    with pytest.raises(Misfit, match=r"objective\.codebook needs codes that are trained by gradient"):
        model(codebook=CodebookLoss())
    with pytest.raises(Misfit, match="posterior needs a CodebookLoss in the objective"):
        model(decay=None)


@pytest.mark.parametrize("decay", [1.0, -0.1])
@pytest.mark.parametrize(
    "make", [lambda decay: Codebook(D, K, PLACE, decay), lambda decay: FittedCodes(PLACES, K, decay)]
)
def test_a_decay_is_from_0_to_below_1(make, decay):
    with pytest.raises(ValueError, match=r"^decay must be a finite number >= 0 and < 1"):
        make(decay)


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_smoothing_is_between_0_and_1(smoothing):
    with pytest.raises(ValueError, match=r"^smoothing must be a finite number > 0 and < 1"):
        FittedCodes(PLACES, K, smoothing=smoothing)


# through the command line


@pytest.mark.slow
def test_moving_codes_stay_in_use_and_the_fitted_prior_is_near_the_entropy(tmp_path):
    result = trained(
        tmp_path, "model=vq_vae_ema", "prior=fitted_codes", "trainer.max_epochs=40", "data.train_size=null",
        "data.val_size=200", "network.hidden=[128]", "optimizer.lr=0.002", "callbacks.samples=null",
    )  # fmt: skip
    got = result.record["metrics"]
    assert 50 < got["test/perplexity"] <= 64
    whole = vaelab.load(result.folder).model

    data = build_data(OmegaConf.create(result.record["config"]))
    train, test = (whole.encode(to_float(part.x)).codes for part in (data.train, data.test))
    log_p = (0.99 * whole.prior.frequencies + 0.01 / 64).log()
    places = torch.arange(8)
    assert got["test/rate"] == pytest.approx(-log_p[places, test].sum(1).mean().item(), rel=1e-4)
    shares = [np.bincount(train[:, n], minlength=64) / len(train) for n in places]
    entropy = sum(scipy_stats.entropy(share) for share in shares)
    rate = -log_p[places, train].sum(1).mean().item()
    # The frequencies are those of the last hundred steps, five epochs, in which the codes must have settled:
    # after 15 epochs they lag 0.6 to 0.7 nats behind, after 40 (two seeds) 0.1. Of that the smoothing is
    # 8 * 0.01 at most, and the noise of 100 batches 8 * 63 / (2 * 64 * 199) = 0.02.
    assert entropy < rate < entropy + 0.25 < 8 * math.log(64)
