"""Finite scalar quantization: levels, the numbering of codes, the gradient, the rate, samples."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

import vaelab
from builders import random, vae
from cli_runner import run
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.finite_scalar import FiniteScalar
from vaelab.models.networks import mlp
from vaelab.models.objectives import Commitment, Distortion, Objective
from vaelab.models.priors import UniformCodes
from vaelab.models.requirements import Misfit

LEVELS = [4, 3, 2]
K = 24


def quantizer(levels=LEVELS, shape=(6, 2, 1)) -> FiniteScalar:
    return FiniteScalar(math.prod(shape), levels, shape)


def bounded(y, level):
    """f as the paper's appendix A.1 writes it, in 64 bits."""
    half = (level - 1) * (1 - 1e-3) / 2
    offset = 0.0 if level % 2 else 0.5
    return np.tanh(y + np.tan(offset / half)) * half - offset


@pytest.mark.parametrize("level", [2, 3, 4, 5, 8, 1000])
def test_a_number_has_its_levels_from_end_to_end(level):
    y = torch.linspace(-12, 12, 20_001, dtype=torch.float64)[:, None]
    q = FiniteScalar(1, [level]).double()(y)
    expected = np.round(bounded(y.numpy(), level)) / (level // 2)
    np.testing.assert_allclose(q.loc, expected, atol=1e-12)
    assert q.codes.unique().tolist() == list(range(level))
    assert q.loc.unique().numel() == level
    assert q.loc.min() == -1
    assert q.loc.max() == ((level - 1) // 2) / (level // 2)
    assert (q.codes[1:] >= q.codes[:-1]).all()


def test_far_out_and_undefined_numbers_have_codes():
    q = FiniteScalar(3, [8, 8, 8])(torch.tensor([[torch.inf, -torch.inf, torch.nan]]))
    assert 0 <= q.codes.item() < 512
    assert q.loc[0, :2].tolist() == [0.75, -1.0]
    assert q.loc[0, 2].isnan()


def test_the_numbering_of_codes_inverts():
    posterior = FiniteScalar(3, LEVELS)
    codes = torch.arange(K)[:, None]
    points = posterior.vectors(codes)
    assert torch.equal(posterior.nearest(points), codes)
    assert points.unique(dim=0).shape[0] == K
    # digits with the first the fastest, as the paper numbers them
    every = [(a, b, c) for c, b, a in product(range(2), range(3), range(4))]
    expected = [[(a - 2) / 2, (b - 1) / 1, (c - 1) / 1] for a, b, c in every]
    assert points.tolist() == expected


def test_what_is_encoded_has_the_codes_of_its_z_in_the_order_group_row_column():
    posterior, encoded = quantizer(), 2 * torch.randn(50, 12, generator=random())
    q = posterior(encoded)
    assert (posterior.code_shape, posterior.places, posterior.number_of_codes) == ((2, 2, 1), 4, K)
    z = posterior.sample(q, torch.zeros(1, 50, 12))[0]
    torch.testing.assert_close(z, q.loc)
    assert torch.equal(posterior.nearest(z), q.codes)
    assert torch.equal(posterior.vectors(q.codes), q.loc)
    maps, codes = encoded.view(50, 6, 2, 1), q.codes.view(50, 2, 2, 1)
    for group, row in product(range(2), range(2)):
        point = maps[:, 3 * group : 3 * group + 3, row, 0]
        assert torch.equal(FiniteScalar(3, LEVELS)(point).codes[:, 0], codes[:, group, row, 0])


def test_the_gradient_passes_straight_through_the_rounding():
    posterior = FiniteScalar(3, LEVELS)
    encoded = torch.randn(40, 3, generator=random()).double().requires_grad_()
    weight = torch.randn(40, 3, generator=random(1)).double()
    z = posterior.double().sample(posterior(encoded), torch.zeros(1, 40, 3))
    (weight * z.square()).sum().backward()
    y = encoded.detach().numpy()
    slopes = []
    for d, level in enumerate(LEVELS):
        half, offset = (level - 1) * 0.999 / 2, 0.0 if level % 2 else 0.5
        slopes.append((1 - np.tanh(y[:, d] + np.tan(offset / half)) ** 2) * half / (level // 2))
    expected = 2 * weight.numpy() * z[0].detach().numpy() * np.stack(slopes, 1)
    np.testing.assert_allclose(encoded.grad, expected, rtol=1e-10)


def model(prior=None, **terms) -> Autoencoder:
    torch.manual_seed(0)
    encoder, decoder = mlp((1, 4, 4), 6, 6, 1, (8,))
    objective = Objective({"distortion": Distortion(), **terms})
    posterior, prior = FiniteScalar(6, LEVELS), prior or UniformCodes()
    return Autoencoder(encoder, decoder, posterior, prior, vae().likelihood, objective)


def test_the_uniform_rate_is_the_sum_of_the_logs_of_the_levels_at_each_place():
    whole = model()
    output = whole(torch.rand(7, 1, 4, 4, generator=random()), whole.draw_noise(7, random()))
    torch.testing.assert_close(output.stats.rate, torch.full((7,), 2 * sum(map(math.log, LEVELS))))
    output.loss.backward()
    assert all(p.grad.isfinite().all() for p in whole.parameters())
    assert sum(p.grad.abs().sum() for p in whole.encoder.parameters()) > 0


def test_samples_are_uniform_codes():
    posterior = FiniteScalar(6, LEVELS)
    prior = UniformCodes().bind(posterior, posterior)
    codes = posterior.nearest(prior.sample(torch.randn(20_000, 6, generator=random())))
    joint = np.bincount((codes[:, 0] * K + codes[:, 1]).numpy(), minlength=K * K)
    assert scipy_stats.chisquare(joint).pvalue > 1e-3


def test_a_commitment_may_be_added_and_keeps_numbers_near_their_levels():
    whole = model(commitment=Commitment(0.5))
    x = torch.rand(7, 1, 4, 4, generator=random())
    terms = whole(x, whole.draw_noise(7, random())).terms
    y = whole.encoder(x).detach().double().numpy().reshape(7, 2, 3)
    apart = [
        (bounded(y[..., d], L) - np.round(bounded(y[..., d], L))) / (L // 2) for d, L in enumerate(LEVELS)
    ]
    assert terms["commitment"].item() == pytest.approx(np.square(apart).sum() / 7, rel=1e-4)


def test_its_codes_are_not_trained():
    from vaelab.models.objectives import CodebookLoss

    with pytest.raises(Misfit, match="codes that are trained by gradient"):
        model(codebook=CodebookLoss())


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (
            [8, 1, 5, 5],
            r"^levels must be a list of whole numbers from 2 to 1000, as \[8,5,5,5\], got \[8, 1, 5, 5\]$",
        ),
        ([2000], r"^levels must be a list of whole numbers from 2 to 1000, as .*, got \[2000\]$"),
        ([900, 900, 900], "are 729,000,000 codes: at most 1,048,576$"),
        ([4, 4, 4, 4, 4], "^the number of levels must divide latent_dim=12, got 5$"),
        ([], r"^levels must be a list of whole numbers .*, got \[\]$"),
        (None, "^levels must be a list of whole numbers .*, got None$"),  # the levels of data without any
        (256, "^levels must be a list of whole numbers .*, got 256$"),  # and of grey images
        ([8, 2.5], r"^levels must be a list of whole numbers .*, got \[8, 2.5\]$"),
        ([8, True], r"^levels must be a list of whole numbers .*, got \[8, True\]$"),
    ],
)
def test_levels_that_make_no_sense_are_refused(levels, message):
    with pytest.raises(ValueError, match=message):
        FiniteScalar(12, levels)


# through the command line


@pytest.mark.slow
def test_fsq_vae_trains_on_a_map_with_a_fitted_prior_and_comes_back(tmp_path):
    result = run(
        tmp_path, "model=fsq_vae", "model.levels=[5,3,3]", "prior=fitted_codes", "network=conv_map",
        "network.channels=3", "network.width=16", "trainer.max_epochs=10", "data=digits", "data.val_size=200",
        "optimizer.lr=0.005", "callbacks=none", "logger=none", "trainer.accelerator=cpu",
    )  # fmt: skip
    got = result.record["metrics"]
    assert got["test/rate"] < 4 * math.log(45) - 0.5  # less than uniform codes cost
    assert got["test/codes_used"] > 0.5
    assert got["test/elbo"] == pytest.approx(-(got["test/rate"] + got["test/distortion"]), rel=1e-5)
    assert got["test/distortion"] < got["test/constant_distortion"] - 4
    loaded = vaelab.load(result.folder)
    assert loaded.encode(torch.rand(3, 1, 8, 8)).codes.shape == (3, 1, 2, 2)
    assert loaded.sample(5).flatten(1).unique(dim=0).shape[0] > 1
