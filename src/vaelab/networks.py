"""Encoder and decoder pairs for any image size and channel count.

Each factory returns :class:`Networks`. Initialisation, everywhere: weights of layers followed by the
activation are Kaiming-normal (He et al., 2015), weights of output layers Xavier-normal (Glorot & Bengio,
2010), all biases zero, the last ones too: outputs start centred on mu = 0, log sigma^2 = 0 and, for a
Bernoulli likelihood, on probability 1/2.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod, sqrt
from typing import NamedTuple

from torch import nn

from vaelab.errors import UserError, did_you_mean

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


class Networks(NamedTuple):
    """An encoder (B, C, H, W) -> (B, encoder_outputs) and a decoder (B, D) -> (B, decoder_channels, H, W)."""

    encoder: nn.Module
    decoder: nn.Module


def linear(
    image_shape: Sequence[int], latent_dim: int, encoder_outputs: int, decoder_channels: int
) -> Networks:
    """One affine map each way: with a Gaussian likelihood, the model of probabilistic PCA."""
    return mlp(image_shape, latent_dim, encoder_outputs, decoder_channels, hidden=())


def mlp(
    image_shape: Sequence[int],
    latent_dim: int,
    encoder_outputs: int,
    decoder_channels: int,
    hidden: Sequence[int] = (512,),
    activation: str = "relu",
) -> Networks:
    """Fully connected: ``hidden`` lists the encoder's layer widths, the decoder mirrors them."""
    _, height, width = image_shape
    check_widths(hidden)
    act = _activation(activation)
    output_shape = (decoder_channels, height, width)
    encoder = nn.Sequential(
        nn.Flatten(),
        *_dense([prod(image_shape), *hidden], act),
        nn.Linear([prod(image_shape), *hidden][-1], encoder_outputs),
    )
    mirrored = [latent_dim, *reversed(hidden)]
    decoder = nn.Sequential(
        *_dense(mirrored, act), nn.Linear(mirrored[-1], prod(output_shape)), nn.Unflatten(1, output_shape)
    )
    return _initialised(encoder, decoder, output_layers=(encoder[-1], decoder[-2]))


def conv(
    image_shape: Sequence[int],
    latent_dim: int,
    encoder_outputs: int,
    decoder_channels: int,
    hidden: Sequence[int] = (32, 64),
    dense: int = 256,
    activation: str = "relu",
) -> Networks:
    """Convolutional: one 4x4 convolution of stride 2 for each width in ``hidden``, then a layer of ``dense``.

    Each stage halves the image (rounding down), so an image of size n allows floor(log2 n) stages; the
    decoder mirrors the stages with transposed convolutions, padded to give back odd sizes exactly.
    """
    channels, height, width = image_shape
    check_widths(hidden, at_least_one=True)
    if min(height, width) < 8:
        raise UserError(
            f"network=conv needs images of at least 8x8, the data are {height}x{width}. Use network=mlp."
        )
    sizes = [(height, width)]
    for _ in hidden:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    if min(sizes[-1]) < 1:
        most = min(height, width).bit_length() - 1
        raise UserError(
            f"network.hidden has {len(hidden)} stages, each halving the image; "
            f"{height}x{width} images allow at most {most}."
        )
    act = _activation(activation)
    flat = hidden[-1] * prod(sizes[-1])
    down = [
        layer
        for i, o in pairwise([channels, *hidden])
        for layer in (nn.Conv2d(i, o, kernel_size=4, stride=2, padding=1), act())
    ]
    encoder = nn.Sequential(
        *down, nn.Flatten(), nn.Linear(flat, dense), act(), nn.Linear(dense, encoder_outputs)
    )
    up: list[nn.Module] = []
    widths = [*reversed(hidden), decoder_channels]
    for (i, o), (small, large) in zip(pairwise(widths), pairwise(reversed(sizes)), strict=True):
        # a transposed 4x4 convolution of stride 2 doubles the size; an odd size needs one pixel more
        odd = (large[0] - 2 * small[0], large[1] - 2 * small[1])
        up += [nn.ConvTranspose2d(i, o, kernel_size=4, stride=2, padding=1, output_padding=odd), act()]
    del up[-1]  # no activation on the output
    decoder = nn.Sequential(
        nn.Linear(latent_dim, dense), act(), nn.Linear(dense, flat), act(),
        nn.Unflatten(1, (hidden[-1], *sizes[-1])), *up,
    )  # fmt: skip
    return _initialised(encoder, decoder, output_layers=(encoder[-1], decoder[-1]))


def check_widths(hidden: Sequence[int], at_least_one: bool = False) -> None:
    """Layer widths are whole numbers of at least 1."""
    if any(isinstance(width, bool) or not isinstance(width, int) or width < 1 for width in hidden):
        raise UserError(f"network.hidden must be a list of whole numbers >= 1, got {list(hidden)}.")
    if at_least_one and not hidden:
        raise UserError("network.hidden needs at least one width for network=conv, got [].")


def _activation(name: str) -> type[nn.Module]:
    if name not in ACTIVATIONS:
        raise UserError(f"network.activation={name} is unknown. {did_you_mean(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _dense(widths: Sequence[int], act: type[nn.Module]) -> list[nn.Module]:
    return [layer for i, o in pairwise(widths) for layer in (nn.Linear(i, o), act())]


def _initialised(encoder: nn.Module, decoder: nn.Module, output_layers: Sequence[nn.Module]) -> Networks:
    for module in [*encoder.modules(), *decoder.modules()]:
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if module in output_layers:
                nn.init.xavier_normal_(module.weight)
            elif isinstance(module, nn.ConvTranspose2d):
                # a pixel sums over k^2 / stride^2 weights of each input channel; torch takes out k^2 for it
                taps = prod(module.kernel_size) / prod(module.stride)
                nn.init.normal_(module.weight, std=sqrt(2 / (module.in_channels * taps)))
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return Networks(encoder, decoder)
