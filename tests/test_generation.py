"""What is shown of a model, seen through a decoder that draws z itself."""

import pytest
import torch
from torch import Tensor, nn

from builders import Planted, ae, images, random, vae
from vaelab import generation
from vaelab.autoencoder import Autoencoder
from vaelab.likelihoods import Gaussian
from vaelab.objectives import Distortion, Objective
from vaelab.posteriors import Deterministic, DiagonalGaussian
from vaelab.priors import StandardNormal

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


def test_a_traversal_moves_one_dimension_and_leaves_the_others():
    x = pixels()
    z = generation.traversals(transparent(), x, steps=5, dimensions=3).flatten(2)  # (rows, columns, D)
    start = x[0].flatten() * GAIN
    assert z.shape == (3, 5, D)
    for row, moved in enumerate([1, 3, 0]):  # KL in descending order
        for d in range(D):
            if d == moved:
                assert (z[row, :, d].diff() > 0.1).all()
            else:
                assert torch.equal(z[row, :, d], start[d].expand(5))


def test_a_traversal_covers_three_deviations_of_the_aggregate_posterior():
    x = pixels()
    z = generation.traversals(transparent(), x, steps=7).flatten(2)
    mu = (x.flatten(1) * GAIN).double().numpy()
    center, spread = mu.mean(0), (mu.var(0) + LOG_VAR.double().exp().numpy()) ** 0.5
    for row, d in enumerate([1, 3, 0, 2]):
        expected = [center[d] + k * spread[d] for k in (-3, -2, -1, 0, 1, 2, 3)]
        assert z[row, :, d].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_width_of_a_traversal_can_be_set():
    wide = generation.traversals(transparent(), pixels(), width=4.0).flatten(2)[0, :, 1]
    narrow = generation.traversals(transparent(), pixels(), width=2.0).flatten(2)[0, :, 1]
    torch.testing.assert_close(wide[-1] - wide[0], 2 * (narrow[-1] - narrow[0]))


def test_a_traversal_shows_no_more_rows_than_there_are_dimensions():
    assert generation.traversals(transparent(), pixels()).shape == (D, 9, 1, 1, D)
    assert generation.traversals(transparent(), pixels(), dimensions=2).shape == (2, 9, 1, 1, D)


def test_an_autoencoder_is_traversed_over_the_range_of_its_codes():
    model = transparent()
    model.posterior = Deterministic(D)
    model.encoder = nn.Sequential(nn.Flatten(), Scale(GAIN))
    x = pixels()
    z = generation.traversals(model, x, steps=3).flatten(2)
    mu = (x.flatten(1) * GAIN).double().numpy()
    for row, d in enumerate([1, 3, 0, 2]):  # Var(mu) in descending order
        expected = [mu[:, d].mean() + k * mu[:, d].std() for k in (-3, 0, 3)]
        assert z[row, :, d].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


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
    assert generation.order_by_kl(model, model.encode(x)).tolist() == [1, 0]


# the other pictures


def test_prior_samples_are_those_of_the_model():
    model = vae()
    grid = generation.prior_samples(model, rows=2, columns=5)
    assert grid.shape == (2, 5, 1, 4, 4)
    assert torch.equal(grid.flatten(0, 1), model.sample(10))


def test_each_reconstruction_stands_below_its_image():
    model, x = vae(), images(16)
    grid = generation.reconstructions(model, x)
    assert grid.shape == (4, 8, 1, 4, 4)
    assert torch.equal(grid[0], x[:8])
    assert torch.equal(grid[2], x[8:])
    torch.testing.assert_close(grid[1], model.reconstruct(x[:8]))
    torch.testing.assert_close(grid[3], model.reconstruct(x[8:]))


@pytest.mark.parametrize(("n", "shape"), [(1, (2, 1)), (3, (2, 3)), (8, (2, 8)), (13, (2, 8)), (32, (8, 8))])
def test_reconstructions_fill_whole_rows(n, shape):
    assert generation.reconstructions(vae(), images(n)).shape == (*shape, 1, 4, 4)


@pytest.mark.parametrize("model", [vae(), ae()], ids=["vae", "ae"])
def test_interpolations_end_at_the_reconstructions(model):
    x = images(7)
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


def test_nothing_shown_depends_on_the_global_generator():
    model, x = vae(), images(8)
    draw = (
        generation.prior_samples,
        lambda m: generation.reconstructions(m, x),
        lambda m: generation.traversals(m, x),
        lambda m: generation.interpolations(m, x),
    )
    before = torch.get_rng_state()
    for function in draw:
        assert torch.equal(function(model), function(model))
    assert torch.equal(torch.get_rng_state(), before)
