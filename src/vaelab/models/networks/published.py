"""The architectures that the literature on disentanglement uses for 64x64 images such as dSprites.

They are made for 64x64 and nothing else: at another size they would be other networks. The papers' first
weights are not kept: those of ``kaiming`` are used (:mod:`vaelab.models.networks`), and there is no setting.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from vaelab.models.networks.parts import Networks, dense, doubling, halving, initialised

__all__ = ["burgess_conv", "locatello_conv"]

SIZE = 64
RELU = nn.ReLU


def burgess_conv(
    image_shape: Sequence[int], latent_dim: int, encoder_outputs: int, decoder_channels: int
) -> Networks:
    """The networks of "Understanding disentangling in beta-VAE" (Burgess et al., 2018, arXiv:1804.03599).

    Encoder: four 4x4 convolutions of stride 2 with 32 channels each (64 -> 32 -> 16 -> 8 -> 4), two layers
    of 256, then the posterior's parameters (20 numbers for 10 dimensions). Decoder: its transpose,
    D -> 256 -> 256 -> 32x4x4, then four transposed convolutions. ReLU throughout.
    """
    channels = _channels_of_64x64("burgess_conv", image_shape)
    encoder = [*_convolutions([halving(channels, 32), *(halving(32, 32) for _ in range(3))])]
    encoder += [nn.Flatten(), *dense([32 * 4 * 4, 256, 256], RELU), nn.Linear(256, encoder_outputs)]
    decoder = dense([latent_dim, 256, 256, 32 * 4 * 4], RELU)
    return _pair(encoder, decoder, up=[32, 32, 32, 32, decoder_channels])


def locatello_conv(
    image_shape: Sequence[int],
    latent_dim: int,
    encoder_outputs: int,
    decoder_channels: int,
    late_kernel: int = 4,
) -> Networks:
    """The networks of "Challenging Common Assumptions" (Locatello et al., 2019, arXiv:1811.12359).

    Encoder: convolutions of stride 2 with 32, 32, 64 and 64 channels, a layer of 256, then the posterior's
    parameters. Decoder: D -> 256 -> 64x4x4, then 4x4 transposed convolutions of stride 2 with 64, 32 and 32
    channels and the image's. ReLU throughout; Higgins et al. (2017) had the first of the kind, for chairs.

    ``late_kernel`` is the size of the third and fourth kernel, the first two being 4x4: 4 as the table that
    is reprinted by those who build on it (766,295 parameters for 64x64x3 images and ten dimensions, the count
    in Whittington et al., 2023, table 1), 2 as disentanglement_lib, the paper's code, has them.
    """
    channels = _channels_of_64x64("locatello_conv", image_shape)
    if late_kernel not in (2, 4):
        raise ValueError(f"late_kernel must be 4 (the paper's table) or 2 (its code), got {late_kernel}")
    late = [nn.Conv2d(i, 64, late_kernel, stride=2, padding=late_kernel // 2 - 1) for i in (32, 64)]
    encoder = [*_convolutions([halving(channels, 32), halving(32, 32), *late])]
    encoder += [nn.Flatten(), *dense([64 * 4 * 4, 256], RELU), nn.Linear(256, encoder_outputs)]
    decoder = dense([latent_dim, 256, 64 * 4 * 4], RELU)
    return _pair(encoder, decoder, up=[64, 64, 32, 32, decoder_channels])


def _channels_of_64x64(name: str, image_shape: Sequence[int]) -> int:
    channels, height, width = image_shape
    if (height, width) != (SIZE, SIZE):
        raise ValueError(f"{name} is published for {SIZE}x{SIZE} images, the data are {height}x{width}")
    return channels


def _convolutions(layers: Sequence[nn.Module]) -> list[nn.Module]:
    return [layer for convolution in layers for layer in (convolution, RELU())]


def _pair(encoder: Sequence[nn.Module], decoder: Sequence[nn.Module], up: Sequence[int]) -> Networks:
    """The pair: ``decoder``'s dense layers are followed by transposed convolutions from 4x4 to 64x64."""
    sizes = [(4, 4), (8, 8), (16, 16), (32, 32), (64, 64)]
    doublings = [doubling(*io, *ab) for io, ab in zip(pairwise(up), pairwise(sizes), strict=True)]
    both = (
        nn.Sequential(*encoder),
        # no activation on the output
        nn.Sequential(*decoder, nn.Unflatten(1, (up[0], 4, 4)), *_convolutions(doublings)[:-1]),
    )
    return initialised(*both, output_layers=(both[0][-1], both[1][-1]), init="kaiming")
