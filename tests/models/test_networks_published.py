"""burgess_conv and locatello_conv against the papers' tables, and resnet."""

import pytest
import torch
from test_networks import assert_normal, count, layers
from torch import nn

from builders import images
from cli_runner import run
from vaelab.models.networks import burgess_conv, locatello_conv, resnet
from vaelab.models.networks.resnet import Residual

LATENT, OUTPUTS = 10, 20  # as in the papers: ten Gaussians
RESNET = {"hidden": (4, 6), "blocks": 2, "dense": 16}


def sizes_after(network: nn.Module, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """What each layer with weights makes of one image or code."""
    x, sizes = torch.zeros(1, *shape), []
    for layer in network:
        x = layer(x)
        if count(layer):
            sizes.append(tuple(x.shape[1:]))
    return sizes


# the published ones; the numbers are worked out by hand: weights and biases, layer by layer

BURGESS = (
    [544, 16_416, 16_416, 16_416, 131_328, 65_792, 5_140],
    [2_816, 65_792, 131_584, 16_416, 16_416, 16_416, 513],
)
LOCATELLO = (
    [544, 16_416, 32_832, 65_600, 262_400, 5_140],
    [2_816, 263_168, 65_600, 32_800, 16_416, 513],
)
LOCATELLO_CODE = ([544, 16_416, 8_256, 16_448, 262_400, 5_140], LOCATELLO[1])


BURGESS_SIZES = (
    [(32, 32, 32), (32, 16, 16), (32, 8, 8), (32, 4, 4), (256,), (256,), (20,)],
    [(256,), (256,), (512,), (32, 8, 8), (32, 16, 16), (32, 32, 32), (3, 64, 64)],
)
LOCATELLO_SIZES = (
    [(32, 32, 32), (32, 16, 16), (64, 8, 8), (64, 4, 4), (256,), (20,)],
    [(256,), (1024,), (64, 8, 8), (32, 16, 16), (32, 32, 32), (3, 64, 64)],
)


@pytest.mark.parametrize(
    ("factory", "options", "tables"),
    [
        (burgess_conv, {}, BURGESS),
        (locatello_conv, {}, LOCATELLO),
        (locatello_conv, {"late_kernel": 2}, LOCATELLO_CODE),
    ],
)
def test_parameters_layer_by_layer(factory, options, tables):
    pair = factory((1, 64, 64), LATENT, OUTPUTS, 1, **options)
    for network, table in zip(pair, tables, strict=True):
        assert [count(layer) for layer in network if count(layer)] == table


def test_the_count_that_a_paper_reports_of_locatellos_network():
    """Whittington et al. (2023), table 1: 766,295 parameters at (64, 64, 3) and ten dimensions."""
    assert sum(map(count, locatello_conv((3, 64, 64), LATENT, OUTPUTS, 3))) == 766_295


@pytest.mark.parametrize(
    ("factory", "options", "sizes"),
    [
        (burgess_conv, {}, BURGESS_SIZES),
        *((locatello_conv, {"late_kernel": k}, LOCATELLO_SIZES) for k in (4, 2)),
    ],
)
def test_sizes_layer_by_layer(factory, options, sizes):
    pair = factory((3, 64, 64), LATENT, OUTPUTS, 3, **options)
    assert tuple(map(sizes_after, pair, [(3, 64, 64), (LATENT,)])) == sizes
    kernels = [layer.kernel_size[0] for layer in layers(pair.encoder, nn.Conv2d)]
    late = options.get("late_kernel", 4)
    assert kernels == [4, 4, late, late]
    assert {layer.kernel_size[0] for layer in layers(pair.decoder, nn.ConvTranspose2d)} == {4}


@pytest.mark.parametrize("factory", [burgess_conv, locatello_conv])
def test_every_layer_but_the_last_is_rectified(factory):
    for network in factory((1, 64, 64), LATENT, OUTPUTS, 1):
        weighted = [i for i, layer in enumerate(network) if count(layer)]
        assert all(isinstance(network[i + 1], nn.ReLU) for i in weighted[:-1])
        assert weighted[-1] == len(network) - 1


@pytest.mark.parametrize("factory", [burgess_conv, locatello_conv])
def test_first_weights_are_those_of_kaiming(factory):
    torch.manual_seed(0)
    encoder, decoder = factory((3, 64, 64), LATENT, OUTPUTS, 3)
    for layer in layers(nn.Sequential(*encoder, *decoder), nn.Linear, nn.Conv2d, nn.ConvTranspose2d):
        assert (layer.bias == 0).all()
        taps = {nn.Linear: 1, nn.Conv2d: 16, nn.ConvTranspose2d: 4}[type(layer)]
        reads, gives = layer.weight.shape[1::-1] if taps != 4 else layer.weight.shape[:2]
        if layer is encoder[-1]:
            variance = 2 / (reads + gives)
        elif layer is decoder[-1]:
            variance = 2 / (16 * (reads + gives))
        else:
            variance = 2 / (reads * taps)
        assert_normal(layer.weight, variance**0.5)


@pytest.mark.parametrize("factory", [burgess_conv, locatello_conv])
@pytest.mark.parametrize("size", [(28, 28), (64, 32), (128, 128)])
def test_other_sizes_are_refused(factory, size):
    message = f"{factory.__name__} is published for 64x64 images, the data are {size[0]}x{size[1]}"
    with pytest.raises(ValueError, match=message):
        factory((1, *size), LATENT, OUTPUTS, 1)


@pytest.mark.parametrize("kernel", [3, 0, "4"])
def test_only_the_two_kernels_are_known(kernel):
    with pytest.raises(ValueError, match=rf"late_kernel must be 4 .* or 2 .*, got {kernel}"):
        locatello_conv((1, 64, 64), LATENT, OUTPUTS, 1, late_kernel=kernel)


# residual networks


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_resnet_has_blocks_at_every_width_both_ways(blocks):
    encoder, decoder = resnet((3, 16, 16), 5, 10, 6, hidden=(8, 12), blocks=blocks, dense=20)
    flat = 12 * 4 * 4
    residual = blocks * 2 * ((8 * 8 * 9 + 8) + (12 * 12 * 9 + 12))
    down = (3 * 8 * 16 + 8) + (8 * 12 * 16 + 12)
    up = (12 * 8 * 16 + 8) + (8 * 6 * 16 + 6)
    assert count(encoder) == residual + down + (flat * 20 + 20) + (20 * 10 + 10)
    assert count(decoder) == residual + up + (5 * 20 + 20) + (20 * flat + flat)


def test_a_block_adds_what_its_convolutions_make_of_it():
    torch.manual_seed(0)
    block, x = Residual(3, nn.SiLU), torch.randn(2, 3, 7, 5)
    silu = nn.functional.silu
    inner = nn.functional.conv2d(silu(x), block.first.weight, block.first.bias, padding=1)
    change = nn.functional.conv2d(silu(inner), block.second.weight, block.second.bias, padding=1)
    assert change.abs().mean() > 0.01
    torch.testing.assert_close(block(x), x + change)


@pytest.mark.parametrize("init", ["torch", "kaiming", "xavier"])
def test_blocks_start_as_the_identity_and_do_not_stay_it(init):
    encoder, _ = resnet((1, 8, 8), 5, 10, 1, **RESNET, init=init)
    block = layers(encoder, Residual)[0]
    x = torch.randn(2, 4, 4, 4)
    assert torch.equal(block(x), x)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    for _ in range(2):  # the first step moves the second convolution, the second step both
        before = [p.clone() for p in (block.first.weight, block.second.weight)]
        optimizer.zero_grad()
        encoder(images(8, (1, 8, 8))).square().sum().backward()
        optimizer.step()
    assert not torch.equal(before[0], block.first.weight)
    assert not torch.equal(before[1], block.second.weight)


def test_the_signal_does_not_grow_with_the_depth():
    """Not so with Kaiming's weights in every layer of every block: each would double the variance."""
    x = images(64, (1, 32, 32)) - 0.5
    spreads = {}
    for blocks in (0, 8):
        torch.manual_seed(0)
        encoder, decoder = resnet((1, 32, 32), 16, 32, 1, hidden=(32, 64), blocks=blocks)
        spreads[blocks] = encoder(x).std().item(), decoder(torch.randn(64, 16)).std().item()
    for shallow, deep in zip(spreads[0], spreads[8], strict=True):
        assert 0.1 < shallow < 3
        assert deep == pytest.approx(shallow, rel=0.3)


def test_an_image_is_encoded_alone_as_in_a_batch():
    encoder, _ = resnet((1, 9, 9), 5, 10, 1, **RESNET)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.2)
    x = images(6, (1, 9, 9))
    alone = torch.cat([encoder(image[None]) for image in x])
    torch.testing.assert_close(encoder.train()(x), alone)
    torch.testing.assert_close(encoder.eval()(x), alone)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": [4] * 4}, r"hidden has 4 widths.*8x8 images allow 3 at most"),
        ({"blocks": -1}, r"blocks must be a whole number >= 0, got -1"),
        ({"dense": 0}, r"dense must be a whole number >= 1, got 0"),
    ],
)
def test_resnet_refuses_what_it_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        resnet((1, 8, 8), 5, 10, 1, **options)


# through the command line

SPRITES = ("data=sprites", "data.train_size=64", "data.val_size=32", "trainer.accelerator=cpu", "logger=none")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "size"),
    [pytest.param("burgess_conv", 64, marks=pytest.mark.exhaustive), ("locatello_conv", 64), ("resnet", 17)],
)
def test_it_trains_on_sprites(tmp_path, network, size):
    result = run(
        tmp_path,
        *("model=vae", f"network={network}", f"data.size={size}", "data.batch_size=16", *SPRITES),
        *("trainer.max_epochs=6", "trainer.limit_test_batches=1", "trainer.log_every_n_steps=4"),
        *("callbacks.samples=null", "callbacks.kl_pictures=null", "callbacks.latent_map=null", "seed=0"),
    )
    assert result.code == 0, result.err
    with (result.folder / "history.csv").open() as file:
        header, first, *_, last = [line.strip().split(",") for line in file]
    distortion = header.index("val/distortion")
    assert float(first[distortion]) < 0.6931 * size**2 * 1.2  # it starts at log 2 a pixel
    assert float(last[distortion]) < 0.5 * float(first[distortion])


def test_a_wrong_size_is_refused_before_training(tmp_path):
    result = run(tmp_path, "network=burgess_conv", "data=digits", "logger=none")
    assert result.code == 2
    assert "network: burgess_conv is published for 64x64 images, the data are 8x8" in result.err
