"""The autoregressive prior over codes: probabilities that sum to 1, causality, samples, by enumeration."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from torch import Tensor, nn

from builders import random
from vaelab.models.codebooks import Codebook
from vaelab.models.finite_scalar import FiniteScalar
from vaelab.models.pixelcnn import PixelCNN
from vaelab.models.residual_codebook import ResidualCodebook

SHAPES = [(1, 2, 2), (2, 1, 2), (2, 2, 1), (4, 1, 1), (1, 1, 4)]  # (G, rows, columns), four codes each


def network(code_shape: tuple[int, ...], number_of_codes: int = 3, layers: int = 2) -> PixelCNN:
    """Random weights, positions and biases included, of a size that makes codes depend on each other."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = PixelCNN(code_shape, number_of_codes, width=8, layers=layers)
        for parameter in made.parameters():
            nn.init.normal_(parameter, std=0.4)
    return made


def all_codes(places: int, number_of_codes: int) -> Tensor:
    return torch.tensor(list(product(range(number_of_codes), repeat=places)))


@torch.no_grad()
def probabilities(made: PixelCNN) -> Tensor:
    return made.log_prob_of(all_codes(int(np.prod(made.code_shape)), made.number_of_codes)).double().exp()


def in_order(code_shape: tuple[int, ...]) -> list[int]:
    """Where in (group, row, column) the codes stand, by (row, column, group)."""
    return torch.arange(int(np.prod(code_shape))).view(code_shape).permute(1, 2, 0).flatten().tolist()


@pytest.mark.parametrize("number_of_codes", [2, 3])
@pytest.mark.parametrize("code_shape", SHAPES)
def test_the_probabilities_of_all_codes_sum_to_one(code_shape, number_of_codes):
    p = probabilities(network(code_shape, number_of_codes))
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    assert p.max() > 3 * p.min()


@pytest.mark.parametrize("code_shape", [(1, 5, 6), (3, 2, 3), (5, 1, 1), (2, 1, 7), (2, 7, 1)])
def test_logits_have_gradients_of_all_codes_before_and_of_no_others(code_shape):
    made, n = network(code_shape, layers=3), int(np.prod(code_shape))
    codes = torch.randint(3, (1, n), generator=random())
    # a table of its own for each code, so that a gradient belongs to one code
    maps = codes.view(1, code_shape[0], -1)
    seen = {}
    for name in ("outer", "inner"):
        table = getattr(made, name).detach()
        rows = torch.stack([table[g, c] for g, place in enumerate(maps[0]) for c in place])
        seen[name] = nn.Parameter(rows.view(code_shape[0], -1, rows.shape[-1]))
        setattr(made, name, seen[name])
    numbered = torch.arange(maps.shape[-1]).expand_as(maps).flatten(1)
    logits = made.logits(numbered)[0]
    weights = torch.randn(logits.shape, generator=random(1))
    order = in_order(code_shape)
    for position, place in enumerate(order):
        loss = (weights[place] * logits[place]).sum()
        grads = torch.autograd.grad(loss, list(seen.values()), retain_graph=True)
        depends = sum(grad.abs().sum(-1) for grad in grads).flatten() > 0
        assert depends[order[:position]].all()
        assert not depends[order[position:]].any()


@pytest.mark.parametrize("code_shape", SHAPES)
def test_samples_have_the_probabilities(code_shape):
    """Chi-square over all 81 maps. False alarms: one in 10,000 for each case."""
    made, draws = network(code_shape), 20_000
    with torch.no_grad():
        codes = made.choose(torch.rand(draws, 4, generator=random(5)))
    index = (codes * torch.tensor([27, 9, 3, 1])).sum(-1)
    assert chi_square(index, probabilities(made)) > 1e-4


def chi_square(index: Tensor, p: Tensor) -> float:
    """The p-value of draws ``index`` (N,) from the probabilities p."""
    share, draws = p.numpy() / p.sum().item(), len(index)
    enough = share * draws >= 5  # rarer ones together
    counts = np.bincount(index, minlength=len(share))
    found = np.append(counts[enough], counts[~enough].sum())
    expected = draws * np.append(share[enough], share[~enough].sum())
    kept = expected > 0
    return float(scipy_stats.chisquare(found[kept], expected[kept]).pvalue)


POSTERIORS = {
    "codebook": lambda: Codebook(8, 3, code_dim=2, latent_shape=(4, 1, 2)),  # two groups of channels
    "levels": lambda: FiniteScalar(4, levels=(2, 3), latent_shape=(2, 2, 1)),  # two numbers, six codes
    "residual": lambda: ResidualCodebook(
        4, 3, code_dim=2, quantizers=2, shared=False, latent_shape=(2, 1, 2)
    ),
    "residual groups": lambda: ResidualCodebook(
        4, 3, code_dim=2, quantizers=2, shared=False, latent_shape=(4, 1, 1)
    ),
}


def bound(kind: str) -> tuple[Any, PixelCNN, Any]:
    """A posterior, a network for its codes, and the density that they make."""
    torch.manual_seed(0)
    posterior = POSTERIORS[kind]().requires_grad_(False)
    made = network(posterior.code_shape, posterior.number_of_codes)
    return posterior, made, made.bind(posterior, posterior)


@pytest.mark.parametrize("kind", POSTERIORS)
def test_samples_of_z_have_the_probabilities_of_their_codes(kind):
    """Chi-square over all codes, by the z that they make. False alarms: one in 10,000 for each case."""
    posterior, made, density = bound(kind)
    made.requires_grad_(False)
    latents = posterior.vectors(all_codes(posterior.places, posterior.number_of_codes))
    assert len(latents.unique(dim=0)) == len(latents)  # so that z tells the codes, of a sum too
    z = density.sample(torch.randn(20_000, posterior.latent_dim, generator=random(5)))
    distance, index = torch.cdist(z, latents, compute_mode="donot_use_mm_for_euclid_dist").min(-1)
    assert distance.max() < 1e-3 < 0.05 < torch.pdist(latents).min()
    assert chi_square(index, probabilities(made)) > 1e-4


@pytest.mark.parametrize("kind", ["codebook", "levels"])
def test_it_is_a_density_of_z(kind):
    posterior, _, density = bound(kind)
    with torch.no_grad():
        z = density.sample(torch.randn(9, posterior.latent_dim, generator=random()))
        codes = posterior.nearest(z)
        assert len(codes.unique(dim=0)) > 5
        assert torch.equal(posterior.vectors(codes), z)
        log_p = density.log_prob(z.expand(2, *z.shape))
        torch.testing.assert_close(log_p, density.log_prob_of(codes).expand(2, 9))


@pytest.mark.parametrize("code_shape", SHAPES)
def test_it_begins_as_independent_codes(code_shape):
    made, log_p = PixelCNN(code_shape, 3, width=8), torch.randn(4, 3, generator=random()).log_softmax(-1)
    codes = all_codes(4, 3)
    torch.testing.assert_close(made.log_prob_of(codes), torch.full((81,), -4 * np.log(3.0)).float())
    made.begin_at(log_p)
    torch.testing.assert_close(made.log_prob_of(codes), log_p[torch.arange(4), codes].sum(-1))


def test_a_sample_is_a_function_of_its_own_numbers():
    made, u = network((2, 2, 2)), torch.rand(7, 8, generator=random())
    with torch.no_grad():
        assert torch.equal(made.choose(u)[3:5], made.choose(u[3:5]))
        assert torch.equal(made.choose(torch.zeros(1, 8)), torch.zeros(1, 8, dtype=torch.long))
        assert torch.equal(made.choose(torch.ones(1, 8)), torch.full((1, 8), 2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"code_shape": (2, 2)}, r"^code_shape must be \(groups, rows, columns\), got \(2, 2\)"),
        ({"code_shape": (0, 2, 2)}, r"^each number of code_shape must be a whole number >= 1, got 0"),
        ({"number_of_codes": 1}, r"^number_of_codes must be a whole number >= 2, got 1"),
        ({"width": 0}, r"^width must be a whole number >= 1, got 0"),
        ({"layers": -1}, r"^layers must be a whole number >= 0, got -1"),
    ],
)
def test_numbers_that_make_no_network_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PixelCNN(**{"code_shape": (1, 2, 2), "number_of_codes": 3} | settings)
