"""Networks whose latents are maps."""

from math import prod

import pytest
import torch

from vaelab.models import FullCovariance, conv_map
from vaelab.models.networks.maps import map_shape


@pytest.mark.parametrize("down", [1, 2, 3])
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (17, 30)])
@pytest.mark.parametrize("options", [{}, {"blocks": 1, "attention": True}, {"norm_groups": 0}])
def test_map_networks_give_back_the_size_of_the_image(size, down, options):
    image_shape = (3, *size)
    shape = map_shape(image_shape, channels=2, down=down)
    assert shape == (2, size[0] >> down, size[1] >> down)
    outputs = 2 * prod(shape)
    encoder, decoder = conv_map(image_shape, prod(shape), outputs, 6, channels=2, down=down, **options)
    assert encoder(torch.rand(2, *image_shape)).shape == (2, outputs)
    assert decoder(torch.rand(2, prod(shape))).shape == (2, 6, *size)


def networks(**options):
    """Of images 1x32x32: a map 2x8x8, a mean and a log variance for each of its numbers."""
    return conv_map((1, 32, 32), 128, 256, 1, channels=2, norm_groups=0, **options)


def test_latents_keep_their_place():
    encoder, decoder = networks()
    x = torch.rand(1, 1, 32, 32)
    changed = x.clone()
    changed[..., :4, :4] = 1 - changed[..., :4, :4]
    moved = (encoder(changed) - encoder(x)).unflatten(1, (2, 2, 8, 8))[0].abs().amax((0, 1))
    # pixel 3 is seen by place 2 of the first convolution, that by 1 of the second, that by 2 of the map
    assert moved[0, 0] > 0
    assert (moved[:3, :3] > 0).any()
    assert (moved[3:] == 0).all()
    assert (moved[:, 3:] == 0).all()

    z = torch.randn(1, 2, 8, 8)
    other = z.clone()
    other[:, :, 7, 0] += 1
    painted = (decoder(other.flatten(1)) - decoder(z.flatten(1)))[0, 0].abs()
    assert painted[28:, :4].max() > 0  # below, at the left
    # row 7 reaches 6; 6 reaches 11 of the first doubling, that 21 of the second, that 20 of the image
    assert (painted[:20] == 0).all()
    assert (painted[:, 12:] == 0).all()


def test_the_encoder_gives_a_parameter_after_the_other_each_a_map():
    encoder, _ = networks()
    x = torch.rand(3, 1, 32, 32)
    last = torch.nn.Sequential(*list(encoder)[:-1])(x)  # without Flatten
    assert last.shape == (3, 4, 8, 8)
    mean, log_variance = encoder(x).chunk(2, dim=-1)
    assert mean.equal(last[:, :2].flatten(1))
    assert log_variance.equal(last[:, 2:].flatten(1))


def test_an_image_does_not_depend_on_its_batch():
    encoder, decoder = conv_map((1, 16, 16), 64, 128, 1, blocks=1, attention=True)
    x = torch.rand(5, 1, 16, 16)
    torch.testing.assert_close(encoder(x)[2:3], encoder(x[2:3]))
    z = torch.randn(5, 64)
    torch.testing.assert_close(decoder(z)[2:3], decoder(z[2:3]))


def test_further_numbers_are_the_same_at_every_place():
    """A label moves every place of an image alike, but for the border."""
    _, decoder = conv_map((1, 32, 32), 128 + 3, 256, 1, channels=2, norm_groups=0)
    z = torch.zeros(2, 131)
    z[1, 129] = 1
    none, label = decoder(z)[:, 0]
    change = label - none
    assert change.abs().max() > 0
    # two doublings repeat after 4 pixels
    torch.testing.assert_close(change[12:16, 12:16], change[16:20, 16:20], atol=1e-5, rtol=0)
    assert (label != none).all()


def test_blocks_start_as_the_identity():
    state = torch.random.get_rng_state()
    plain, _ = networks()
    torch.random.set_rng_state(state)
    deep, _ = networks(blocks=2, attention=True)
    assert all(
        not parameter.any()
        for name, parameter in deep.named_parameters()
        if name.rpartition(".")[0].endswith("second")
    )
    assert len(list(deep.parameters())) > len(list(plain.parameters()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"down": 5}, "down=5, each halves the image: 16x16 images allow 4 at most"),
        ({"down": 0}, "down"),
        ({"channels": 0}, "channels"),
        ({"norm_groups": 5}, "norm_groups must divide width=32"),
        ({"norm_groups": -1}, "norm_groups"),
        ({"width": 0}, "width"),
    ],
)
def test_wrong_numbers_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        conv_map((1, 16, 16), 64, 128, 1, **options)


def test_a_posterior_over_the_whole_vector_is_refused():
    with pytest.raises(ValueError, match=r"4x4 places"):
        conv_map((1, 16, 16), 64, 64 + 64 * 65 // 2 + 1, 1)
    with pytest.raises(ValueError, match="the latents are maps: use DiagonalGaussian"):
        FullCovariance(16, latent_shape=(4, 2, 2))
    assert FullCovariance(16).latent_shape == (16,)
