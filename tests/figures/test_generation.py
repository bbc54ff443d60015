"""What is shown of a model, seen through a decoder that draws z itself."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor, nn

from builders import Planted, ae, images, random, vae
from support.chance import SIGMAS
from vaelab.data.images import ImageSet
from vaelab.figures import generation
from vaelab.functional.interpolation import slerp
from vaelab.functional.mixtures import GaussianMixture
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.codebooks import Codebook
from vaelab.models.conditions import LabelCondition
from vaelab.models.latent_codes import Codes, codes_of
from vaelab.models.likelihoods import Gaussian
from vaelab.models.objectives import Distortion, Objective
from vaelab.models.posteriors import Deterministic, DiagonalGaussian
from vaelab.models.priors import MixtureOfGaussians, StandardNormal, UniformCodes

D = 4
GAIN = torch.tensor([0.5, 2.0, 0.0, 1.0])
LOG_VAR = torch.tensor([-1.0, -3.0, 0.0, -2.0])


def transparent(gain: Tensor = GAIN, log_var: Tensor = LOG_VAR) -> Autoencoder:
    """mu = gain * pixel, and the decoded image is z: (1, 1, D)."""
    return Autoencoder(
        Planted(gain, log_var),
        nn.Unflatten(1, (1, 1, len(gain))),
        DiagonalGaussian(len(gain)),
        StandardNormal(),
        Gaussian(1.0),
        Objective({"distortion": Distortion()}),
    )


def pixels(n: int = 40) -> Tensor:
    return 1 + torch.randn(n, 1, 1, D, generator=random())


# traversals


def rows_of(model: Autoencoder, x: Tensor, **options: Any) -> Tensor:
    """The z of a traversal of the first image: (rows, steps, D)."""
    return generation.traversals(model, x, **options).images[:, 0].flatten(2)


def test_a_traversal_moves_one_dimension_and_leaves_the_others():
    x = pixels()
    z = rows_of(transparent(), x, steps=5, dimensions=3)  # (rows, columns, D)
    start = x[0].flatten() * GAIN
    assert z.shape == (3, 5, D)
    for row, moved in enumerate([1, 3, 0]):  # KL in descending order
        for d in range(D):
            if d == moved:
                assert (z[row, :, d].diff() > 0.1).all()
            else:
                assert torch.equal(z[row, :, d], start[d].expand(5))


def aggregate_quantile(mu: np.ndarray, deviation: float, share: float) -> float:
    """Of the mixture of N(mu_n, deviation^2), by its distribution function."""
    return brentq(lambda z: norm.cdf(z, mu, deviation).mean() - share, -50, 50)


def test_a_traversal_goes_from_quantile_to_quantile_of_the_aggregate_posterior():
    x = pixels()
    z = rows_of(transparent(), x, steps=7)
    mu = (x.flatten(1) * GAIN).double().numpy()
    deviations = (0.5 * LOG_VAR).exp().tolist()
    draws = generation.DRAWS // len(x) * len(x)
    for row, d in enumerate([1, 3, 0, 2]):
        for end, share in ((0, 0.01), (-1, 0.99)):
            expected = aggregate_quantile(mu[:, d], deviations[d], share)
            density = norm.pdf(expected, mu[:, d], deviations[d]).mean()
            error = (share * (1 - share) / draws) ** 0.5 / density  # the standard error of a sample quantile
            assert abs(z[row, end, d].item() - expected) <= SIGMAS * error
        steps = z[row, :, d].diff()
        torch.testing.assert_close(steps, steps.mean().expand(6), rtol=1e-4, atol=1e-5)


def test_the_quantiles_of_a_traversal_can_be_set():
    inner = rows_of(transparent(), pixels(), quantiles=(0.25, 0.75))[0, :, 1]
    outer = rows_of(transparent(), pixels(), quantiles=(0.01, 0.99))[0, :, 1]
    assert outer[0] < inner[0] - 0.5 < inner[-1] + 0.5 < outer[-1]


def autoencoder() -> Autoencoder:
    """:func:`transparent` without noise."""
    model = transparent()
    model.posterior = Deterministic(D)
    model.encoder = nn.Sequential(nn.Flatten(), Scale(GAIN))
    return model


def test_an_autoencoder_is_traversed_over_the_range_of_its_codes():
    x = pixels(41)
    z = rows_of(autoencoder(), x, steps=3, quantiles=(0.25, 0.75))
    mu = (x.flatten(1) * GAIN).double().numpy()
    for row, d in enumerate([1, 3, 0, 2]):  # Var(mu) in descending order
        low, high = np.quantile(mu[:, d], [0.25, 0.75])  # of 41 numbers the 11th and the 31st
        assert z[row, :, d].tolist() == pytest.approx([low, (low + high) / 2, high], rel=1e-4, abs=1e-5)


def test_codes_that_are_not_finite_widen_no_range():
    x = pixels()
    x[3] = torch.nan
    x[5] = torch.inf
    q = autoencoder().encode(x)
    assert generation.latent_ranges(autoencoder(), q, torch.arange(D)).isfinite().all()


def test_traversals_of_several_images():
    x = pixels()
    moved = generation.traversals(transparent(), x, steps=5, dimensions=3, starts=2)
    images, dimensions = moved.images, moved.dimensions
    assert images.shape == (3, 2, 5, 1, 1, D)
    assert dimensions.tolist() == [1, 3, 0]
    torch.testing.assert_close(images[:, 0].flatten(2), rows_of(transparent(), x, steps=5, dimensions=3))
    second = images[0, 1].flatten(1)
    assert torch.equal(second[:, [0, 2, 3]], (x[1].flatten() * GAIN)[[0, 2, 3]].expand(5, 3))
    assert generation.traversals(transparent(), pixels(1), starts=5).images.shape[:2] == (D, 1)


class Scale(nn.Module):
    def __init__(self, gain: Tensor) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


def test_dimensions_are_ordered_by_kl_and_not_by_variance():
    """A narrow posterior that hardly moves costs more than a wide one that moves."""
    model = transparent(torch.tensor([1.0, 0.1]), torch.tensor([0.0, -20.0]))
    x = torch.randn(40, 1, 1, 2, generator=random())
    use, measure = generation.use_of_dimensions(model, model.encode(x))
    assert (use.argsort(descending=True).tolist(), measure) == ([1, 0], "KL")


# the other pictures


def test_each_reconstruction_stands_below_its_image():
    model, x = vae(), images(16)
    grid = generation.reconstructions(model, x)
    assert grid.shape == (4, 8, 1, 4, 4)
    assert torch.equal(grid[0], x[:8])
    assert torch.equal(grid[2], x[8:])
    torch.testing.assert_close(grid[1], model.reconstruct(x[:8]))
    torch.testing.assert_close(grid[3], model.reconstruct(x[8:]))


@pytest.mark.parametrize(("n", "shape"), [(1, (2, 1)), (8, (2, 8)), (13, (2, 8))])
def test_reconstructions_fill_whole_rows(n, shape):
    assert generation.reconstructions(vae(), images(n)).shape == (*shape, 1, 4, 4)


@pytest.mark.parametrize("make", [vae, ae])
def test_interpolations_end_at_the_reconstructions(make):
    model, x = make(), images(7)
    grid = generation.interpolations(model, x, steps=5)
    reconstructed = model.reconstruct(x)
    assert grid.shape == (3, 5, 1, 4, 4)
    torch.testing.assert_close(grid[:, 0], reconstructed[0:6:2])
    torch.testing.assert_close(grid[:, -1], reconstructed[1:6:2])


def test_interpolations_are_straight_lines():
    x = pixels(4)
    z = generation.interpolations(transparent(), x, steps=5, rows=1).flatten(2)
    mu = x.flatten(1) * GAIN
    expected = torch.stack([mu[0] + share * (mu[1] - mu[0]) for share in (0, 0.25, 0.5, 0.75, 1)])
    torch.testing.assert_close(z, expected[None])


def test_spherical_interpolations_are_great_circles():
    x = pixels(4)
    z = generation.interpolations(transparent(), x, steps=5, spherical=True).flatten(2)
    mu = x.flatten(1) * GAIN
    for row, (one, two) in enumerate(((0, 1), (2, 3))):
        expected = torch.stack([slerp(mu[one], mu[two], i / 4) for i in range(5)])
        torch.testing.assert_close(z[row], expected)


def test_a_lone_image_has_no_interpolation():
    assert generation.interpolations(vae(), images(1), steps=5).shape == (0, 5, 1, 4, 4)


# arithmetic


def codes(loc: Tensor, y: Tensor | None = None, factors: Tensor | None = None) -> Codes:
    return Codes(loc, torch.zeros_like(loc), loc, y, factors)


def test_arithmetic_adds_the_difference_of_the_classes_means():
    loc = torch.randn(9, D, generator=random())
    y = torch.tensor([2, 0, 0, 5, 2, 5, 0, 2, 5])
    shown = generation.arithmetic(transparent(), codes(loc, y), steps=3)
    assert shown.attribute == "label"
    assert shown.moves == ["0 to 2", "2 to 5", "5 to 0"]
    means = {k: loc[y == k].mean(0) for k in (0, 2, 5)}
    z = shown.images.flatten(2)
    for row, (first, a, b) in enumerate(((1, 0, 2), (0, 2, 5), (3, 5, 0))):
        move = means[b] - means[a]
        expected = torch.stack([loc[first], loc[first] + move / 2, loc[first] + move])
        torch.testing.assert_close(z[row], expected)


def test_arithmetic_of_factors_takes_the_first_that_varies():
    loc = torch.randn(6, D, generator=random())
    factors = torch.tensor([[1, 0], [1, 1], [1, 0], [1, 1], [1, 0], [1, 1]])
    shown = generation.arithmetic(transparent(), codes(loc, None, factors), ("colour", "size"))
    assert (shown.attribute, shown.moves) == ("size", ["0 to 1", "1 to 0"])
    torch.testing.assert_close(shown.images[0, -1].flatten(), loc[0] + loc[1::2].mean(0) - loc[0::2].mean(0))


def test_arithmetic_of_a_quantity_moves_between_its_outer_thirds():
    loc, values = torch.randn(90, D, generator=random()), torch.arange(90.0)[:, None]
    shown = generation.arithmetic(transparent(), codes(loc, None, values), ("width",))
    assert shown.moves == ["low to high", "high to low"]
    torch.testing.assert_close(shown.images[0, -1].flatten(), loc[0] + loc[60:].mean(0) - loc[:30].mean(0))


@pytest.mark.parametrize("y", [None, torch.ones(4, dtype=torch.long)])
def test_without_two_classes_there_is_no_arithmetic(y):
    assert generation.arithmetic(transparent(), codes(torch.ones(4, D), y)) is None


# the plane


def plane(model: Autoencoder) -> Autoencoder:
    model.decoder = nn.Unflatten(1, (1, 1, 2))
    model.posterior.latent_dim = 2
    return model


def test_the_manifold_lies_on_the_quantiles_of_the_prior():
    z = generation.manifold(
        plane(transparent()), codes(torch.randn(50, 2, generator=random())), side=5
    ).flatten(2)
    places = norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9])
    for row in range(5):
        np.testing.assert_allclose(z[row, :, 0], places, atol=1e-6)  # to the right
        np.testing.assert_allclose(z[:, row, 1], places[::-1], atol=1e-6)  # upwards


@pytest.mark.parametrize("part", ["posterior", "prior"])
def test_without_a_trained_standard_normal_it_lies_on_the_codes(part):
    model, points = plane(transparent()), 5 + 3 * torch.randn(200, 2, generator=random())
    setattr(model, part, {"posterior": Deterministic(2), "prior": MixtureOfGaussians(2)}[part])
    z = generation.manifold(model, codes(points), side=4).flatten(2)
    expected = np.quantile(points.numpy(), [0.125, 0.375, 0.625, 0.875], axis=0)
    np.testing.assert_allclose(z[0, :, 0], expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(z[:, 0, 1], expected[::-1, 1], rtol=1e-5)


# the mixture fitted to codes


def density(d: int) -> GaussianMixture:
    return GaussianMixture(torch.ones(1), torch.full((1, d), 2.0), 0.1 * torch.eye(d)[None])


def test_images_of_the_mixture_are_its_decoded_samples(monkeypatch):
    monkeypatch.setattr(generation, "BATCH", 7)
    images = generation.mixture_images(transparent(), density(D), 15, seed=2)
    torch.testing.assert_close(images.flatten(1), density(D).sample(15, seed=2))


def test_a_codebook_shows_the_codes_nearest_to_the_density():
    model = transparent()
    model.posterior, model.prior = Codebook(D, codes=5, code_dim=2), UniformCodes()
    z = generation.mixture_images(model, density(D), 20).flatten(1).view(-1, 2)
    drawn = density(D).sample(20).view(-1, 2)
    nearest = torch.cdist(drawn, model.posterior.codebook).argmin(1)
    torch.testing.assert_close(z, model.posterior.codebook[nearest].detach())


def conditional() -> Autoencoder:
    """The decoded image is z and the label's one-hot code."""
    model = transparent()
    model.condition, model.decoder = LabelCondition(3), nn.Unflatten(1, (1, 1, D + 3))
    model.encoder = nn.Sequential(FirstChannel(), model.encoder)
    return model


class FirstChannel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1]


def test_what_a_conditional_model_is_told():
    model, x, y = conditional(), pixels(9), torch.tensor([2, 1, 0, 0, 1, 2, 1, 0, 2])
    in_turn = generation.mixture_images(model, density(D), 6).flatten(1)[:, D:]
    assert in_turn.argmax(1).tolist() == [0, 1, 2, 0, 1, 2]
    moving = generation.traversals(model, x, y=y, starts=3, steps=3).images.flatten(3)
    assert (moving[..., D:].argmax(-1) == y[:3, None]).all()  # each image's own
    encoded = codes_of(model, ImageSet(x, y=y))
    moves = generation.arithmetic(model, encoded).images.flatten(2)[..., D:].argmax(-1)
    assert (moves == torch.tensor([[0], [1], [2]])).all()
    spherical = generation.interpolations(model, x, y=y, spherical=True).flatten(2)[..., D:].argmax(-1)
    assert (spherical == y[0:8:2, None]).all()


def test_nothing_shown_depends_on_the_global_generator():
    model, x = vae(), images(8)
    draw = (
        generation.prior_samples,
        lambda m: generation.reconstructions(m, x),
        lambda m: generation.traversals(m, x).images,
        lambda m: generation.interpolations(m, x),
        lambda m: generation.mixture_images(m, density(3), 4),
        lambda m: codes_of(m, ImageSet(x)).z,
    )
    before = torch.get_rng_state()
    for function in draw:
        assert torch.equal(function(model), function(model))
    assert torch.equal(torch.get_rng_state(), before)
