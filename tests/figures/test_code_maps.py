"""Codes as coloured maps: which colours, in which places, in which rows."""

import pytest
import torch

from builders import images, random, vae
from vaelab.figures.code_maps import code_colours, code_maps
from vaelab.figures.pictures import sample_grids
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.codebooks import Codebook
from vaelab.models.finite_scalar import FiniteScalar
from vaelab.models.networks import conv_map
from vaelab.models.objectives import Commitment, Distortion, Objective
from vaelab.models.priors import UniformCodes
from vaelab.models.residual_codebook import ResidualCodebook

SHAPE = (4, 4, 2)


def model(make) -> Autoencoder:
    torch.manual_seed(0)
    encoder, decoder = conv_map((1, 16, 8), 32, 32, 1, channels=4, width=8)
    objective = Objective({"distortion": Distortion(), "commitment": Commitment()})
    return Autoencoder(encoder, decoder, make(), UniformCodes(), vae().likelihood, objective)


def codebook() -> Codebook:
    return Codebook(32, 9, 4, decay=0.9, latent_shape=SHAPE)


def test_colours_are_shares_of_the_extent_of_the_principal_components():
    shares = torch.linspace(0, 1, 201).double()
    line = torch.outer(shares, torch.tensor([3.0, -4.0]).double()) + 7  # along one direction
    colours = code_colours(line)
    expected = 1 - (shares - 0.02).div(0.96).clamp(0, 1)  # the loading -4/5 is made positive
    torch.testing.assert_close(colours[:, 0].double(), expected, atol=1e-5, rtol=0)
    assert colours[:, 1:].eq(0.5).all()  # no second component has an extent, and there is no third


def test_equal_codes_have_equal_colours_and_near_ones_similar():
    table = torch.randn(6, 5, generator=random())
    table[1] = table[0] + 0.01
    codes = torch.randint(0, 6, (40, 3), generator=random(1))
    colours = code_colours(table[codes])
    assert colours.shape == (40, 3, 3)
    assert colours.min() >= 0
    assert colours.max() <= 1
    of_code = [colours[codes == k] for k in range(6)]
    assert all(torch.equal(colour, colour[:1].expand_as(colour)) for colour in of_code)
    means = torch.stack([colour[0] for colour in of_code])
    apart = torch.cdist(means, means) + torch.eye(6)
    assert apart.argmin().item() in (1, 6)  # codes 0 and 1
    torch.testing.assert_close(code_colours(table[codes] * 3 + 1), colours)


def test_codes_that_are_all_the_same_are_grey():
    assert code_colours(torch.ones(4, 7, 3)).eq(0.5).all()


def test_a_place_of_the_map_covers_its_part_of_the_image():
    whole, x = model(codebook), images(5, shape=(1, 16, 8))
    grid, labels = code_maps(whole, x, None, -1.0, 3.0)
    assert labels == ["original", "codes", "reconstruction"]
    assert grid.shape == (3, 5, 3, 16, 8)
    torch.testing.assert_close(grid[0], x.expand(-1, 3, -1, -1))
    torch.testing.assert_close(grid[2, :, :1], whole.reconstruct(x))
    assert grid[1].min() == pytest.approx(-1)
    assert grid[1].max() == pytest.approx(3)
    codes = whole.encode(x).codes.view(5, 4, 2).repeat_interleave(4, 1).repeat_interleave(4, 2)
    for k in codes.unique():
        colours = grid[1].movedim(1, -1)[codes == k]
        torch.testing.assert_close(colours, colours[:1].expand_as(colours))
    assert len(codes.unique()) > 2


@pytest.mark.parametrize(
    ("make", "rows"),
    [
        (lambda: ResidualCodebook(32, 9, 4, quantizers=3, decay=0.9, latent_shape=SHAPE), 3),
        (lambda: FiniteScalar(32, [4, 4], latent_shape=SHAPE), 2),
        (lambda: ResidualCodebook(32, 9, 4, quantizers=1, decay=0.9, latent_shape=SHAPE), 1),
    ],
)
def test_each_code_of_a_place_is_a_row_of_its_own(make, rows):
    whole, x = model(make), images(6, shape=(1, 16, 8))
    grid, labels = code_maps(whole, x, None, 0.0, 1.0)
    assert len(grid) == len(labels) == 2 + rows
    codes = whole.encode(x).codes.view(6, rows, 4, 2)
    for row in range(rows):
        maps = grid[1 + row, :, :, ::4, ::4].movedim(1, -1)
        for k in codes[:, row].unique():
            colours = maps[codes[:, row] == k]
            torch.testing.assert_close(colours, colours[:1].expand_as(colours), atol=1e-4, rtol=0)


def test_they_are_drawn_where_codes_lie_on_maps():
    drawn = sample_grids(model(codebook), images(9, shape=(1, 16, 8)), None, (0.0, 1.0), interpolations=False)
    assert "codes" in drawn
    assert "codes" not in sample_grids(vae(), images(9), None, (0.0, 1.0), interpolations=False)
