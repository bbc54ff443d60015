import math
import re

import pytest
import torch
from torch import nn

from builders import images, random
from support.chance import SIGMAS
from vaelab.models.networks import conv, linear, mlp, resnet
from vaelab.models.networks.parts import ACTIVATIONS

LATENT, OUTPUTS = 5, 10


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def layers(module: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [layer for layer in module if isinstance(layer, kinds)]


def assert_shapes(networks, shape: tuple[int, int, int], decoder_channels: int) -> None:
    assert networks.encoder(images(3, shape)).shape == (3, OUTPUTS)
    assert networks.decoder(torch.zeros(3, LATENT)).shape == (3, decoder_channels, *shape[1:])


def test_mlp_decoder_mirrors_the_encoder():
    encoder, decoder = mlp((2, 4, 6), LATENT, OUTPUTS, 3, hidden=(30, 20))
    assert [tuple(x.weight.shape) for x in layers(encoder, nn.Linear)] == [(30, 48), (20, 30), (10, 20)]
    assert [tuple(x.weight.shape) for x in layers(decoder, nn.Linear)] == [(20, 5), (30, 20), (72, 30)]


def test_linear_is_one_affine_map_each_way():
    encoder, decoder = linear((1, 4, 6), LATENT, OUTPUTS, 1)
    assert count(encoder) == 24 * 10 + 10
    assert count(decoder) == 5 * 24 + 24
    for network, size in ((encoder, (1, 4, 6)), (decoder, (LATENT,))):
        zero, a, b = torch.zeros(1, *size), torch.rand(1, *size), torch.rand(1, *size)
        torch.testing.assert_close(network(a + b) + network(zero), network(a) + network(b))


@pytest.mark.parametrize("factory", [linear, mlp])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (2, 1, 1)])
def test_dense_networks_take_any_shape(factory, shape):
    assert_shapes(factory(shape, LATENT, OUTPUTS, 2 * shape[0]), shape, 2 * shape[0])


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (13, 13), (28, 28), (31, 31), (64, 64), (8, 20), (20, 9)])
@pytest.mark.parametrize(("factory", "channels"), [(conv, 1), (conv, 3), (resnet, 3)])
def test_convolutions_give_back_the_size_exactly(factory, size, channels):
    shape = (channels, *size)
    networks = factory(shape, LATENT, OUTPUTS, 2 * channels, hidden=(4, 6), dense=16)
    assert_shapes(networks, shape, 2 * channels)


@pytest.mark.parametrize("size", [8, 9, 15, 16, 31])
def test_conv_allows_as_many_stages_as_the_image_can_be_halved(size):
    most = math.floor(math.log2(size))
    shape = (1, size, size)
    assert_shapes(conv(shape, LATENT, OUTPUTS, 2, hidden=[4] * most, dense=16), shape, 2)
    message = f"hidden has {most + 1} widths, each halves the image: {size}x{size} images allow {most}"
    with pytest.raises(ValueError, match=message):
        conv(shape, LATENT, OUTPUTS, 2, hidden=[4] * (most + 1))


def test_conv_has_one_convolution_for_each_width():
    encoder, decoder = conv((3, 16, 16), LATENT, OUTPUTS, 6, hidden=(8, 12), dense=20)
    flat = 12 * 4 * 4
    down = (3 * 8 * 16 + 8) + (8 * 12 * 16 + 12)
    up = (12 * 8 * 16 + 8) + (8 * 6 * 16 + 6)
    assert count(encoder) == down + (flat * 20 + 20) + (20 * OUTPUTS + OUTPUTS)
    assert count(decoder) == (LATENT * 20 + 20) + (20 * flat + flat) + up


@pytest.mark.parametrize("factory", [linear, mlp, conv])
def test_outputs_are_not_bounded_and_at_the_start_a_blank_image_means_the_prior(factory):
    for network, shape in zip(factory((1, 8, 8), LATENT, OUTPUTS, 1), [(1, 8, 8), (LATENT,)], strict=True):
        assert (network(torch.zeros(1, *shape)) == 0).all()  # biases are zero
        assert network(100 * torch.randn(64, *shape, generator=random())).min() < -1


def assert_std(weight: torch.Tensor, expected: float) -> None:
    """The standard error of a standard deviation over n normal numbers is its 1/sqrt(2n)."""
    error = expected / math.sqrt(2 * weight.numel())
    assert error < 0.02 * expected
    assert abs(weight.std().item() - expected) < SIGMAS * error
    assert abs(weight.mean().item()) < SIGMAS * expected / math.sqrt(weight.numel())


def test_weights_start_with_the_spread_of_he_and_glorot():
    torch.manual_seed(0)
    encoder, decoder = mlp((1, 16, 16), 50, 100, 1, hidden=(300, 200))
    first, second, last = layers(encoder, nn.Linear)
    assert_std(first.weight, math.sqrt(2 / 256))
    assert_std(second.weight, math.sqrt(2 / 300))
    assert_std(last.weight, math.sqrt(2 / (200 + 100)))
    first, second, last = layers(decoder, nn.Linear)
    assert_std(first.weight, math.sqrt(2 / 50))
    assert_std(second.weight, math.sqrt(2 / 200))
    assert_std(last.weight, math.sqrt(2 / (300 + 256)))


def test_convolutions_start_with_the_spread_of_he():
    torch.manual_seed(0)
    encoder, decoder = conv((3, 8, 8), LATENT, OUTPUTS, 3, hidden=(64, 96))
    first, second = layers(encoder, nn.Conv2d)
    assert_std(first.weight, math.sqrt(2 / (3 * 16)))
    assert_std(second.weight, math.sqrt(2 / (64 * 16)))
    up = layers(decoder, nn.ConvTranspose2d)[0]
    assert_std(up.weight, math.sqrt(2 / (96 * 4)))  # 4 of 16 taps meet in a pixel


@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "tanh"])
def test_activations_by_name(name):
    for factory in (mlp, conv):
        for network in factory((1, 8, 8), LATENT, OUTPUTS, 1, activation=name):
            assert {type(layer) for layer in layers(network, *ACTIVATIONS.values())} == {ACTIVATIONS[name]}


@pytest.mark.parametrize("factory", [mlp, conv, resnet])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "rellu"}, "'rellu' is unknown. Did you mean 'relu'"),
        *(
            ({"hidden": hidden}, f"hidden must be a list of whole numbers >= 1, got {hidden}")
            for hidden in ([0], [32, -4], [1.5], [True], ["64"])
        ),
    ],
)
def test_settings_that_no_network_can_have_are_refused(factory, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        factory((1, 8, 8), LATENT, OUTPUTS, 1, **options)


@pytest.mark.parametrize("factory", [conv, resnet])
@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 8, 8), {"hidden": []}, "hidden needs at least 1 width"),
        ((1, 7, 28), {}, "images of at least 8x8, the data are 7x28"),
        ((1, 28, 7), {}, "images of at least 8x8, the data are 28x7"),
    ],
)
def test_convolutions_need_a_width_and_an_image_of_8x8(factory, shape, options, message):
    with pytest.raises(ValueError, match=message):
        factory(shape, LATENT, OUTPUTS, 1, **options)
