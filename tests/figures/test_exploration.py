"""The tiles of the latent explorer, seen through a decoder that draws z itself."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from builders import Planted, ae, images, random, vae
from vaelab.figures import generation, pictures
from vaelab.figures.style import EXPLORER
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.codebooks import Codebook
from vaelab.models.conditions import LabelCondition
from vaelab.models.likelihoods import Gaussian
from vaelab.models.objectives import Distortion, Objective
from vaelab.models.posteriors import DiagonalGaussian
from vaelab.models.priors import StandardNormal, UniformCodes
from vaelab.reports.explorer import read_explorer

GAIN = torch.tensor([0.5, 2.0, 0.1, 1.0])
D = len(GAIN)


class FirstChannel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1]


def transparent() -> Autoencoder:
    """mu = gain * pixel with a deviation of 0.1, and the decoded image is z: (1, 1, D)."""
    encoder = Planted(GAIN, torch.full((D,), 2 * np.log(0.1)))
    return Autoencoder(
        nn.Sequential(FirstChannel(), encoder),
        nn.Unflatten(1, (1, 1, D)),
        DiagonalGaussian(D),
        StandardNormal(),
        Gaussian(1.0),
        Objective({"distortion": Distortion()}),
    )


def pixels(n: int = 200) -> Tensor:
    return 1 + torch.randn(n, 1, 1, D, generator=random())


def test_every_combination_of_the_most_used_dimensions_is_decoded_with_the_others_at_their_means():
    model, x = transparent(), pixels()
    found = generation.exploration(model, x)
    assert found.dimensions.tolist() == [1, 3, 0]
    assert found.measure == "KL"
    torch.testing.assert_close(found.use, model.kl_per_dimension(model.encode(x)).mean(0)[[1, 3, 0]])
    ends = generation.latent_ranges(model, model.encode(x), found.dimensions)
    torch.testing.assert_close(found.values[:, [0, -1]], ends.T)
    torch.testing.assert_close(found.values.diff(), (ends[1] - ends[0])[:, None].expand(-1, 6) / 6)
    z = found.images.flatten(3)
    assert z.shape == (7, 7, 7, D)
    for axis, d in enumerate([1, 3, 0]):
        torch.testing.assert_close(z.movedim(axis, -2)[..., d], found.values[axis].expand(7, 7, 7))
    mean = (GAIN * x.flatten(1)).mean(0)[2]
    torch.testing.assert_close(z[..., 2], mean.expand(7, 7, 7))


def test_an_autoencoder_ranks_by_variance():
    model, x = ae(4), images(50)
    found = generation.exploration(model, x)
    variance = model.encode(x).loc.var(0, correction=0)
    assert found.measure == "variance"
    assert found.dimensions.tolist() == variance.argsort(descending=True)[:3].tolist()


def test_a_model_of_two_dimensions_has_two_axes():
    assert generation.exploration(vae(2), images(9)).images.shape == (7, 7, 1, 4, 4)


@pytest.mark.parametrize(("side", "steps", "tile"), [(38, 7, 38), (39, 5, 39), (64, 5, 64), (65, 5, 33)])
def test_large_images_have_fewer_tiles_and_are_averaged(side, steps, tile):
    """7^3 38^2 = 495,292 numbers and 5^3 64^2 = 512,000."""
    found = generation.exploration(vae(3, (1, side, side)), images(3, (1, side, side)))
    assert found.images.shape == (*[steps] * 3, 1, tile, tile)
    assert found.images.numel() <= generation.MOST_NUMBERS


def test_averaging_keeps_the_mean_of_each_square():
    x = images(2, (3, 4, 4))
    expected = x.unflatten(-1, (2, 2)).unflatten(-3, (2, 2)).mean((-1, -3))
    number = 4 * generation.MOST_NUMBERS // x[0].numel()
    torch.testing.assert_close(generation.averaged(x, number), expected)


def test_codes_of_a_codebook_have_no_numbers_that_move_by_themselves():
    model = transparent()
    model.posterior, model.prior = Codebook(D, codes=5, code_dim=2), UniformCodes()
    assert generation.exploration(model, pixels()) is None
    assert pictures.explorer(model, pixels(), None, (0, 1)) is None


def test_images_without_a_finite_code_are_left_out():
    x = pixels()
    broken = torch.cat([torch.full((3, 1, 1, D), torch.nan), x])
    expected = generation.exploration(transparent(), x)
    assert torch.equal(generation.exploration(transparent(), broken).images, expected.images)
    assert generation.exploration(transparent(), broken[:3]) is None


def test_a_conditional_model_is_given_the_label_of_the_first_image():
    model, x, y = transparent(), pixels(9), torch.tensor([2, 1, 0, 0, 1, 2, 1, 0, 2])
    assert generation.exploration(model, x, y).label is None
    model.condition, model.decoder = LabelCondition(3), nn.Unflatten(1, (1, 1, D + 3))
    found = generation.exploration(model, x, y)
    assert found.label == 2
    assert (found.images.flatten(3)[..., D:].argmax(-1) == 2).all()
    picture = pictures.explorer(model, x, y, (0, 1))
    assert read_explorer(picture, "").given == 2


@pytest.mark.parametrize("latent_dim", [1, 2, 3, 5])
def test_the_picture_says_which_tile_is_where(latent_dim):
    model, x = vae(latent_dim), images(20)
    found = generation.exploration(model, x)
    explorer = read_explorer(pictures.explorer(model, x, None, (0, 1)), "here")
    sheet = np.asarray(explorer.picture.convert("L"))
    k = len(explorer.axes)
    assert k == min(3, latent_dim)
    for place in np.ndindex(*[7] * k):
        i, j, block = (*place, 0, 0)[:3]
        left, top = 1 + 5 * (7 * block + i), 1 + 5 * j
        expected = (found.images[place][0] * 255).round().numpy()
        np.testing.assert_array_equal(sheet[top : top + 4, left : left + 4], expected)
    assert [axis.name for axis in explorer.axes] == [f"dim {d}" for d in found.dimensions.tolist()]
    assert [axis.use for axis in explorer.axes] == [f"KL {use:.2f} nats" for use in found.use]
    for axis, values in zip(explorer.axes, found.values, strict=True):
        assert axis.values == pytest.approx(values.tolist(), rel=1e-3)


def test_the_picture_says_what_it_is():
    said = json.loads(pictures.explorer(transparent(), pixels(), None, (0, 1)).info[EXPLORER])
    assert (said["tile"], said["label"], said["names"]) == ([D, 1], None, ["dim 1", "dim 3", "dim 0"])


def test_a_number_of_a_map_is_named_by_its_place():
    model = vae(8)
    model.posterior.latent_shape = (2, 2, 2)
    found = generation.exploration(model, images(20))
    names = [f"channel {d // 4} at {d % 4 // 2},{d % 2}" for d in found.dimensions.tolist()]
    assert found.names == names
