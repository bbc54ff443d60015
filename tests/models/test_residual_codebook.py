"""Residual codes: what each codes, their order, terms and gradients, how codebooks follow, the rate."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

import vaelab
from builders import random, vae
from cli_runner import run
from vaelab.functional.randomness import generator
from vaelab.metrics import Perplexity
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.codebooks import Codebook
from vaelab.models.networks import mlp
from vaelab.models.objectives import CodebookLoss, Commitment, Distortion, Objective
from vaelab.models.priors import FittedCodes, UniformCodes
from vaelab.models.residual_codebook import ResidualCodebook
from vaelab.types import AfterStep

SHAPE = C, H, W = 6, 2, 2
D, K, Q, SIZE = C * H * W, 5, 3, 3  # two groups of three channels
STEP = AfterStep(lambda value: value, lambda stream: generator(0, stream, 1), first=True)
both = pytest.mark.parametrize("shared", [True, False])


def quantizer(shared=True, **settings) -> ResidualCodebook:
    torch.manual_seed(0)
    return ResidualCodebook(D, K, SIZE, Q, shared, latent_shape=SHAPE, **settings)


def one_by_one(posterior, point):
    """The codes of one point and what was left before each, by plain loops."""
    codes, left, tables = [], [point], posterior.codebook
    for q in range(Q):
        table = tables[q if len(tables) > 1 else 0]
        codes.append(int((table - left[-1]).square().sum(1).argmin()))
        left.append(left[-1] - table[codes[-1]])
    return codes, left


@both
def test_each_code_is_the_nearest_to_what_is_left_in_the_order_quantizer_group_row_column(shared):
    posterior, encoded = quantizer(shared, decay=0.9), torch.randn(6, D, generator=random())
    q = posterior(encoded)
    assert posterior.codebook.shape == (1 if shared else Q, K, SIZE)
    assert posterior.code_shape == (Q * 2, H, W)
    assert posterior.places == q.codes.shape[1] == Q * 2 * H * W
    maps, chosen, stages = (part.reshape(6, -1, *SHAPE) for part in (encoded, q.loc, q.stages))
    codes = q.codes.view(6, Q, 2, H, W)
    for b, g, row, column in product(range(6), range(2), range(H), range(W)):
        channels = slice(SIZE * g, SIZE * (g + 1))
        point = maps[b, 0, channels, row, column]
        expected, left = one_by_one(posterior, point)
        assert codes[b, :, g, row, column].tolist() == expected
        torch.testing.assert_close(chosen[b, 0, channels, row, column], point - left[-1])
        for depth in range(Q):
            torch.testing.assert_close(stages[b, depth, channels, row, column], point - left[depth + 1])
    assert torch.equal(posterior.vectors(q.codes), q.loc)
    assert torch.equal(posterior.nearest(encoded), q.codes)


def test_one_quantizer_is_a_codebook():
    torch.manual_seed(0)
    one = ResidualCodebook(D, K, SIZE, quantizers=1, latent_shape=SHAPE, decay=0.9)
    torch.manual_seed(0)
    plain = Codebook(D, K, SIZE, latent_shape=SHAPE, decay=0.9)
    encoded = torch.randn(8, D, generator=random())
    for part, other in zip(one(encoded), plain(encoded), strict=True):
        torch.testing.assert_close(part, other)
    one.after_step([one(encoded)], STEP)
    plain.after_step([plain(encoded)], STEP)
    torch.testing.assert_close(one.codebook[0], plain.codebook)


@both
def test_both_terms_sum_over_the_stages_and_move_one_code_each(shared):
    posterior = quantizer(shared)
    encoded = torch.randn(6, D, generator=random()).requires_grad_()
    q = posterior(encoded)
    stats = vae(latent_dim=D)(
        torch.rand(6, 1, 4, 4), vae(latent_dim=D).draw_noise(6, random())
    ).stats.replace(q=q)
    apart = encoded.detach()[:, None] - q.stages.detach()
    for term in (CodebookLoss(), Commitment()):
        torch.testing.assert_close(term(stats, 0).detach(), apart.square().sum((1, 2)))
    Commitment()(stats, 0).sum().backward()
    torch.testing.assert_close(encoded.grad, 2 * apart.sum(1))
    assert posterior.codebook.grad is None

    q = posterior(encoded.detach())
    CodebookLoss()(stats.replace(q=q), 0).sum().backward()
    points, expected = posterior.layout.points(encoded.detach()), torch.zeros_like(posterior.codebook)
    for point in points.flatten(0, 1):
        codes, left = one_by_one(posterior, point)
        for depth, code in enumerate(codes):
            expected[0 if shared else depth, code] -= 2 * left[depth + 1].detach()
    torch.testing.assert_close(posterior.codebook.grad, expected)


@both
def test_codebooks_follow_what_was_left_when_their_codes_were_chosen(shared):
    posterior = quantizer(shared, decay=0.9)
    encoded = torch.randn(10, D, generator=random())
    counts, sums = posterior.counts.clone() * 0.9, posterior.sums.clone() * 0.9
    for point in posterior.layout.points(encoded).flatten(0, 1):
        codes, left = one_by_one(posterior, point)
        for depth, code in enumerate(codes):
            counts[0 if shared else depth, code] += 0.1
            sums[0 if shared else depth, code] += 0.1 * left[depth]
    q = posterior(encoded)
    posterior.after_step([q._make(part[:4] for part in q), q._make(part[4:] for part in q)], STEP)
    torch.testing.assert_close(posterior.counts, counts)
    torch.testing.assert_close(posterior.sums, sums)
    torch.testing.assert_close(posterior.codebook, sums / counts[..., None])


def test_codes_of_each_codebook_restart_at_what_was_left_for_it():
    posterior = quantizer(shared=False, decay=0.9, revive_below=0.3)
    posterior.counts[:] = 8.0
    posterior.counts[:, 2], posterior.codebook[:, 2] = 0.01, 40.0
    encoded = torch.randn(10, D, generator=random())
    left = torch.stack(
        [torch.stack(one_by_one(posterior, p)[1]) for p in posterior.layout.points(encoded).flatten(0, 1)]
    )
    posterior.after_step([posterior(encoded)], STEP)
    for depth in range(Q):
        assert torch.isclose(left[:, depth], posterior.codebook[depth, 2]).all(1).sum() == 1


def model(prior, **settings) -> Autoencoder:
    torch.manual_seed(0)
    encoder, decoder = mlp((1, 4, 4), 6, 6, 1, (8,))
    objective = Objective({"distortion": Distortion(), "commitment": Commitment(0.25)})
    return Autoencoder(
        encoder,
        decoder,
        ResidualCodebook(6, K, 3, 2, decay=0.9, **settings),
        prior,
        vae().likelihood,
        objective,
    )


def test_the_rate_is_that_of_the_codes_chosen_not_of_others_with_the_same_sum():
    whole = model(UniformCodes())
    x = torch.rand(9, 1, 4, 4, generator=random())
    rate = whole(x, whole.draw_noise(9, random())).stats.rate
    torch.testing.assert_close(rate, torch.full((9,), 2 * 2 * math.log(K)))  # places, quantizers

    fitted = model(FittedCodes(4, K, smoothing=0.1))
    fitted.prior.frequencies.copy_(torch.rand(4, K, generator=random(3)))
    fitted.prior.frequencies /= fitted.prior.frequencies.sum(-1, keepdim=True)
    output = fitted(x, fitted.draw_noise(9, random()))
    p = 0.9 * fitted.prior.frequencies + 0.1 / K
    expected = [-sum(math.log(p[n, c]) for n, c in enumerate(row)) for row in output.stats.q.codes.tolist()]
    torch.testing.assert_close(output.stats.rate.detach(), torch.tensor(expected))
    output.loss.backward()
    assert sum(p.grad.abs().sum() for p in fitted.encoder.parameters()) > 0


def test_codes_of_different_codebooks_are_counted_apart():
    """The number k means another code in each of them; in a shared one it is the same code."""
    codes = torch.randint(K, (40, Q * 2 * H * W), generator=random()).clamp(max=3)
    codes[:, : 2 * H * W] = 4  # the first quantizer has one code alone, which the others never have
    for shared in (True, False):
        posterior = quantizer(shared)
        metric = Perplexity(posterior.number_of_codes, posterior.codebooks)
        q = posterior(torch.zeros(40, D))._replace(codes=codes)
        for part in (slice(0, 11), slice(11, 40)):
            metric.update(q._replace(codes=q.codes[part]))
        tables = [codes] if shared else codes.split(2 * H * W, dim=1)
        shares = [np.bincount(table.numpy().ravel(), minlength=K) for table in tables]
        entropy = np.mean([scipy_stats.entropy(share) for share in shares])
        used = np.mean([(share > 0).mean() for share in shares])
        assert metric.compute()["perplexity"].item() == pytest.approx(np.exp(entropy), rel=1e-5)
        assert metric.compute()["codes_used"].item() == pytest.approx(used)
        assert used == (1.0 if shared else pytest.approx((1 + 4 + 4) / 15))


def test_samples_of_a_prior_choose_every_code_by_a_number_of_its_own():
    posterior = quantizer(shared=False, decay=0.9)  # so that no two choices have the same sum
    numbers = posterior.numbers(torch.arange(D).float())
    assert numbers.shape == (posterior.places,)
    assert numbers.unique().numel() == posterior.places
    z = UniformCodes().bind(posterior, posterior).sample(torch.randn(3000, D, generator=random()))
    points = posterior.layout.points(z).flatten(0, 1).double()
    combinations = torch.cartesian_prod(*[torch.arange(K)] * Q)
    every = posterior.codebook[torch.arange(Q), combinations].sum(1).double()
    nearest = torch.cdist(points, every, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    assert nearest.values.max() < 1e-5
    assert scipy_stats.chisquare(np.bincount(nearest.indices, minlength=K**Q)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantizers": 0}, r"^quantizers must be a whole number >= 1, got 0$"),
        ({"quantizers": 4}, r"^quantizers must be at most code_dim=3, got 4$"),
        ({"code_dim": 4}, r"^code_dim must divide latent_dim=6, got 4$"),
        ({"codes": 1}, r"^codes must be a whole number >= 2, got 1$"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ResidualCodebook(**({"latent_dim": 6, "codes": K, "code_dim": 3, "quantizers": 2} | settings))


# through the command line


@pytest.mark.slow
def test_it_trains_on_a_map_with_restarts_and_comes_back(tmp_path):
    result = run(
        tmp_path, "model=residual_vq_vae", "model.codes=16", "model.code_dim=null", "model.revive_below=0.1",
        "prior=fitted_codes", "network=conv_map", "network.channels=8", "network.width=16", "callbacks=none",
        "trainer.max_epochs=8", "data=digits", "data.val_size=200", "optimizer.lr=0.005", "logger=none",
        "trainer.accelerator=cpu",
    )  # fmt: skip
    got = result.record["metrics"]
    assert got["test/rate"] < 4 * 4 * math.log(16) - 1  # places, quantizers
    assert got["test/codes_used"] > 0.9
    assert got["test/elbo"] == pytest.approx(-(got["test/rate"] + got["test/distortion"]), rel=1e-5)
    assert got["test/distortion"] < got["test/constant_distortion"] - 6
    loaded = vaelab.load(result.folder)
    assert loaded.encode(torch.rand(3, 1, 8, 8)).codes.shape == (3, 4, 2, 2)
    assert loaded.sample(5).flatten(1).unique(dim=0).shape[0] == 5
