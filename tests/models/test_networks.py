import math
import re
from pathlib import Path

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


@pytest.mark.parametrize("init", ["kaiming", "xavier"])
@pytest.mark.parametrize("factory", [linear, mlp, conv, resnet])
def test_outputs_are_not_bounded_and_without_biases_a_blank_image_means_the_prior(factory, init):
    networks = factory((1, 8, 8), LATENT, OUTPUTS, 1, init=init)
    for network, shape in zip(networks, [(1, 8, 8), (LATENT,)], strict=True):
        assert (network(torch.zeros(1, *shape)) == 0).all()
        assert network(100 * torch.randn(64, *shape, generator=random())).min() < -1


def assert_normal(weight: torch.Tensor, std: float) -> None:
    """The standard error of a standard deviation over n normal numbers is its 1/sqrt(2n)."""
    error = std / math.sqrt(2 * weight.numel())
    assert error < 0.02 * std
    assert abs(weight.std().item() - std) < SIGMAS * error
    assert abs(weight.mean().item()) < SIGMAS * std / math.sqrt(weight.numel())
    assert weight.abs().max() > 3 * std  # a uniform one ends at 1.73 std


def assert_uniform(values: torch.Tensor, bound: float) -> None:
    """Of n uniform numbers the greatest is below (1 - 10/n) of the bound once in 22,000 times, exp(-10).

    Their standard deviation is bound / sqrt(3), and its standard error 1/sqrt(5n) of that.
    """
    n, std = values.numel(), bound / math.sqrt(3)
    assert (1 - 10 / n) * bound < values.abs().max() <= bound * (1 + 1e-6)
    assert abs(values.std().item() - std) < SIGMAS * std / math.sqrt(5 * n)
    assert abs(values.mean().item()) < SIGMAS * std / math.sqrt(n)


def dense_layers(init: str) -> tuple[list[nn.Linear], list[nn.Linear]]:
    """The layers of the encoder, 256 -> 300 -> 200 -> 100, and of the decoder, 50 -> 200 -> 300 -> 256."""
    torch.manual_seed(0)
    encoder, decoder = mlp((1, 16, 16), 50, 100, 1, hidden=(300, 200), init=init)
    return layers(encoder, nn.Linear), layers(decoder, nn.Linear)


def convolutions(init: str) -> tuple[list[nn.Conv2d], list[nn.ConvTranspose2d]]:
    """4x4 convolutions 3 -> 64 -> 96 channels, and transposed ones 96 -> 64 -> 3."""
    torch.manual_seed(0)
    encoder, decoder = conv((3, 8, 8), LATENT, OUTPUTS, 3, hidden=(64, 96), init=init)
    return layers(encoder, nn.Conv2d), layers(decoder, nn.ConvTranspose2d)


def test_kaiming_weights_have_the_spread_of_he_and_the_last_that_of_glorot():
    (first, second, last), (up_first, up_second, up_last) = dense_layers("kaiming")
    assert_normal(first.weight, math.sqrt(2 / 256))
    assert_normal(second.weight, math.sqrt(2 / 300))
    assert_normal(last.weight, math.sqrt(2 / (200 + 100)))
    assert_normal(up_first.weight, math.sqrt(2 / 50))
    assert_normal(up_second.weight, math.sqrt(2 / 200))
    assert_normal(up_last.weight, math.sqrt(2 / (300 + 256)))
    (first, second), (up, _) = convolutions("kaiming")
    assert_normal(first.weight, math.sqrt(2 / (3 * 16)))
    assert_normal(second.weight, math.sqrt(2 / (64 * 16)))
    assert_normal(up.weight, math.sqrt(2 / (96 * 4)))  # 4 of 16 taps meet in a pixel


def test_torchs_weights_and_biases_are_uniform_within_one_by_the_root_of_what_a_layer_reads():
    for layer in [*dense_layers("torch")[0], *dense_layers("torch")[1]]:
        assert_uniform(layer.weight, 1 / math.sqrt(layer.in_features))
        assert_uniform(layer.bias, 1 / math.sqrt(layer.in_features))
    down, up = convolutions("torch")
    for layer in down:
        assert_uniform(layer.weight, 1 / math.sqrt(layer.in_channels * 16))
    for layer in up:  # torch counts the channels that a transposed convolution makes
        assert_uniform(layer.weight, 1 / math.sqrt(layer.out_channels * 16))


def test_xavier_weights_are_uniform_within_glorots_bound():
    for layer in [*dense_layers("xavier")[0], *dense_layers("xavier")[1]]:
        assert_uniform(layer.weight, math.sqrt(6 / (layer.in_features + layer.out_features)))
        assert (layer.bias == 0).all()
    for layer in [*convolutions("xavier")[0], *convolutions("xavier")[1]]:
        assert_uniform(layer.weight, math.sqrt(6 / (16 * (layer.in_channels + layer.out_channels))))
        assert (layer.bias == 0).all()


@pytest.mark.parametrize(
    ("factory", "default"), [(linear, "torch"), (mlp, "torch"), (conv, "kaiming"), (resnet, "kaiming")]
)
def test_the_default_of_each_network_in_its_file_and_without_one(factory, default):
    """An older run's config has no init."""
    file = Path(__file__).parents[2] / "conf/network" / f"{factory.__name__}.yaml"
    assert f"\ninit: {default} " in file.read_text()
    made = []
    for options in ({}, {"init": default}):
        torch.manual_seed(0)
        made.append(factory((1, 8, 8), LATENT, OUTPUTS, 1, **options))
    for one, other in zip(*(pair.decoder.parameters() for pair in made), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("factory", [linear, mlp, conv, resnet])
@pytest.mark.parametrize(
    ("init", "message"),
    [("kaimng", "init 'kaimng' is unknown. Did you mean 'kaiming'"), (None, "init None is unknown.")],
)
def test_unknown_first_weights_are_refused(factory, init, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        factory((1, 8, 8), LATENT, OUTPUTS, 1, init=init)


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
