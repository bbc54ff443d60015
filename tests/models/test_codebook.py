"""VQ-VAE: nearest codes, whose gradient goes where, the rate, honest samples, perplexity."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

import vaelab
from builders import images, random, vae
from cli_runner import small, trained
from vaelab.metrics import Perplexity
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.codebooks import Codebook
from vaelab.models.networks import mlp
from vaelab.models.objectives import KL, CodebookLoss, Commitment, Distortion, Objective
from vaelab.models.posteriors import DiagonalGaussian
from vaelab.models.priors import UniformCodes
from vaelab.models.requirements import Misfit

D, K, PLACE = 6, 5, 2
PLACES = D // PLACE


def model(terms=None) -> Autoencoder:
    torch.manual_seed(0)
    encoder, decoder = mlp((1, 4, 4), D, D, 1, (8,))
    terms = terms or {"distortion": Distortion(), "codebook": CodebookLoss(), "commitment": Commitment(0.25)}
    return Autoencoder(
        encoder, decoder, Codebook(D, K, PLACE), UniformCodes(), vae().likelihood, Objective(terms)
    )


def test_each_place_gets_its_nearest_code():
    posterior, encoded = Codebook(D, K, PLACE), torch.randn(20, D, generator=random())
    q = posterior(encoded)
    book, points = posterior.codebook.detach().numpy(), encoded.reshape(20, PLACES, PLACE).numpy()
    for b in range(20):
        for n in range(PLACES):
            nearest = min(range(K), key=lambda k: np.sum((points[b, n] - book[k]) ** 2))
            assert q.codes[b, n] == nearest
            assert q.loc[b, n * PLACE : (n + 1) * PLACE].tolist() == book[nearest].tolist()
    assert q.codes.unique().numel() > 2
    z = posterior.sample(q, torch.zeros(3, 20, D))
    torch.testing.assert_close(z, q.loc.expand(3, 20, D))


def test_the_gradient_of_z_passes_straight_through_to_the_encoder_and_past_the_codebook():
    posterior, encoded = Codebook(D, K, PLACE), torch.randn(4, D, generator=random()).requires_grad_()
    weight = torch.randn(4, D, generator=random(1))
    z = posterior.sample(posterior(encoded), torch.zeros(1, 4, D))
    (weight * z.square()).sum().backward()
    torch.testing.assert_close(encoded.grad, 2 * weight * z[0].detach())  # as if z were the encoder's point
    assert posterior.codebook.grad is None or posterior.codebook.grad.eq(0).all()


@pytest.mark.parametrize(("term", "moves_codes"), [(CodebookLoss(), True), (Commitment(), False)])
def test_the_two_terms_have_one_value_and_move_opposite_ends(term, moves_codes):
    whole, x = model(), images(7)
    encoded = whole.encoder(x)
    encoded.retain_grad()
    q = whole.posterior(encoded)
    stats = whole(x, whole.draw_noise(7, random())).stats.replace(q=q)
    value = term(stats, 0)
    value.sum().backward()
    apart = (encoded - q.loc).detach()
    torch.testing.assert_close(value.detach(), apart.square().sum(1))
    if moves_codes:
        expected = torch.zeros(K, PLACE)
        for b, n in np.ndindex(7, PLACES):
            expected[q.codes[b, n]] -= 2 * apart[b, n * PLACE : (n + 1) * PLACE]
        torch.testing.assert_close(whole.posterior.codebook.grad, expected)
        assert encoded.grad is None
    else:
        torch.testing.assert_close(encoded.grad, 2 * apart)
        assert whole.posterior.codebook.grad is None


def test_the_rate_is_the_log_of_the_number_of_code_combinations():
    whole = model()
    output = whole(images(7), whole.draw_noise(7, random(), samples=2))
    stats = output.stats
    torch.testing.assert_close(stats.rate, torch.full((7,), math.log(K**PLACES)))
    torch.testing.assert_close(stats.log_p, torch.full((2, 7), -PLACES * math.log(K)))
    assert stats.log_q.eq(0).all()
    assert stats.kl.isnan().all()
    assert stats.z_prior.shape == (7, D)
    terms = output.terms
    loss = terms["distortion"] + terms["codebook"] + 0.25 * terms["commitment"]
    torch.testing.assert_close(output.loss, loss)
    output.loss.backward()
    assert all(p.grad.isfinite().all() for p in whole.parameters())


def test_prior_samples_are_uniform_independent_codes():
    posterior, n = Codebook(4, 3, 2), 30_000
    prior = UniformCodes().bind(posterior, posterior)
    z = prior.sample(torch.randn(n, 4, generator=random()))
    codes = {tuple(code): k for k, code in enumerate(posterior.codebook.tolist())}
    pairs = Counter((codes[tuple(row[:2])], codes[tuple(row[2:])]) for row in z.tolist())
    assert len(pairs) == 9
    assert scipy_stats.chisquare(list(pairs.values())).pvalue > 1e-3
    torch.testing.assert_close(prior.log_prob(z), torch.full((n,), -math.log(9)))


def test_the_use_of_codes_is_counted_over_all_batches_and_places():
    codes = torch.randint(0, 4, (30, 3), generator=random())
    codes[:20] = codes[:20] // 2
    posterior, metric = Codebook(3, 6, 1), Perplexity(6)
    q = posterior(torch.zeros(30, 3))._replace(codes=codes)
    for part in (slice(0, 11), slice(11, 30)):
        metric.update(q._replace(codes=q.codes[part]))
    share = np.bincount(codes.numpy().ravel(), minlength=6) / 90
    assert metric.compute()["perplexity"].item() == pytest.approx(
        np.exp(scipy_stats.entropy(share)), rel=1e-5
    )
    assert metric.compute()["codes_used"].item() == pytest.approx(len(set(codes.flatten().tolist())) / 6)
    assert len(set(codes.flatten().tolist())) < 6


@pytest.mark.parametrize("number_of_codes", [4, 0])
def test_without_codes_their_use_is_undefined(number_of_codes):
    metric = Perplexity(number_of_codes)
    metric.update(DiagonalGaussian(2)(torch.zeros(3, 4)))
    assert all(value.isnan() for value in metric.compute().values())


# what makes no sense


@pytest.mark.parametrize("term", [Commitment(), CodebookLoss()])
def test_the_terms_of_a_codebook_are_refused_without_one(term):
    with pytest.raises(Misfit, match=r"objective\.mine needs a posterior that chooses codes"):
        vae(terms={"distortion": Distortion(), "mine": term})
    with pytest.raises(Misfit, match=r"objective\.kl needs a posterior with a density"):
        model({"distortion": Distortion(), "codebook": CodebookLoss(), "kl": KL()})


@pytest.mark.parametrize(("codes", "size", "key"), [(1, 2, "codes"), (4, 4, "code_dim"), (4, 0, "code_dim")])
def test_sizes_that_do_not_fit_are_refused(codes, size, key):
    with pytest.raises(ValueError, match=f"^{key} must"):
        Codebook(D, codes, size)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("model=vq_vae", "prior=standard_normal"), "prior needs a posterior over vectors"),
        (("model=vae", "prior=uniform_codes"), "prior needs a posterior that chooses codes"),
        (("model=vae", "prior=fitted_codes"), "codes"),
        (("model=vq_vae", "model.code_dim=3"), "model.posterior.code_dim must divide"),
        (("model=vq_vae_ema", "model.decay=1"), "decay must be a finite number >= 0 and < 1"),
        (("model=vq_vae", "+model.posterior.decay=0.9"), "model.objective.codebook needs codes"),
    ],
)
def test_they_are_refused_on_the_command_line_before_training(tmp_path, settings, message):
    result = small(tmp_path, *settings)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err


# through the command line


@pytest.mark.slow
def test_vq_vae_trains_uses_its_codes_and_comes_back(tmp_path):
    result = trained(
        tmp_path, "model=vq_vae", "trainer.max_epochs=15", "data.train_size=null", "data.val_size=200",
        "network.hidden=[128]", "optimizer.lr=0.002", "callbacks.samples.every_n_epochs=null",
    )  # fmt: skip
    got = result.record["metrics"]
    assert got["test/rate"] == pytest.approx(8 * math.log(64), rel=1e-5)
    assert got["test/elbo"] == pytest.approx(-(got["test/rate"] + got["test/distortion"]), rel=1e-5)
    assert 10 < got["test/perplexity"] <= 64
    model = vaelab.load(result.folder).model
    x = torch.from_numpy(_digits()[:200])
    blank = (x - x.mean(0)).square().mean()
    assert (model.reconstruct(x) - x).square().mean() < 0.5 * blank
    used = model.encode(x).codes.unique().numel()
    assert used > 10
    samples = model.sample(16)
    assert samples.flatten(1).unique(dim=0).shape[0] == 16


def _digits() -> np.ndarray:
    from sklearn.datasets import load_digits

    return (load_digits().images[:, None] / 16).astype(np.float32)
