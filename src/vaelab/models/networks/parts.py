"""What the factories share: the pair, activations, convolutions that halve an image, initialisation."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod, sqrt
from typing import NamedTuple

from torch import nn

from vaelab.errors import did_you_mean

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}

INITS = ("torch", "kaiming", "xavier")

Size = tuple[int, int]


class Networks(NamedTuple):
    """An encoder (B, C, H, W) -> (B, encoder_outputs) and a decoder (B, D) -> (B, decoder_channels, H, W)."""

    encoder: nn.Module
    decoder: nn.Module


def activation_class(name: str) -> type[nn.Module]:
    """The activation called ``name``, a ValueError if there is none."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name!r} is unknown. {did_you_mean(str(name), ACTIVATIONS)}")
    return ACTIVATIONS[name]


def check_widths(hidden: Sequence[int], least: int = 0) -> None:
    """Raise a ValueError unless ``hidden`` is a list of at least ``least`` whole numbers >= 1."""
    if not isinstance(hidden, list | tuple) or not all(type(width) is int and width >= 1 for width in hidden):
        raise ValueError(f"hidden must be a list of whole numbers >= 1, got {hidden}")
    if len(hidden) < least:
        raise ValueError(f"hidden needs at least {least} width, got {list(hidden)}")


def dense(widths: Sequence[int], act: type[nn.Module]) -> list[nn.Module]:
    """Linear layers of these widths, each followed by the activation."""
    return [layer for i, o in pairwise(widths) for layer in (nn.Linear(i, o), act())]


def halved_sizes(image_shape: Sequence[int], stages: int, asked: str = "") -> list[Size]:
    """The image's size, and after each of ``stages`` halvings, rounding down.

    Args:
        asked: what asks for so many, for the message; by default the widths in ``hidden``.

    Raises:
        ValueError: images below 8x8, or more halvings than the image allows.
    """
    _, height, width = image_shape
    if min(height, width) < 8:
        raise ValueError(f"convolutions need images of at least 8x8, the data are {height}x{width}")
    most = min(height, width).bit_length() - 1
    if stages > most:
        asked = asked or f"hidden has {stages} widths, each halves the image"
        raise ValueError(f"{asked}: {height}x{width} images allow {most} at most")
    return [(height >> stage, width >> stage) for stage in range(stages + 1)]


def halving(inputs: int, outputs: int) -> nn.Conv2d:
    """A 4x4 convolution of stride 2: half the size, rounded down."""
    return nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1)


def doubling(inputs: int, outputs: int, small: Size, large: Size) -> nn.ConvTranspose2d:
    """A transposed 4x4 convolution of stride 2 from ``small`` to ``large``: twice the size, or one more."""
    odd = (large[0] - 2 * small[0], large[1] - 2 * small[1])
    return nn.ConvTranspose2d(inputs, outputs, kernel_size=4, stride=2, padding=1, output_padding=odd)


def initialised(
    encoder: nn.Module, decoder: nn.Module, output_layers: Sequence[nn.Module], init: str
) -> Networks:
    """The pair with first weights by ``init``, a ValueError if it is none of INITS.

    Args:
        output_layers: the last layers, which no activation follows: ``kaiming`` gives them Xavier's weights.
        init: see :mod:`vaelab.models.networks`.
    """
    if init not in INITS:
        raise ValueError(f"init {init!r} is unknown. {did_you_mean(str(init), INITS)}")
    for layer in [*encoder.modules(), *decoder.modules()]:
        if init != "torch" and isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if init == "xavier":
                nn.init.xavier_uniform_(layer.weight)
            elif layer in output_layers:
                nn.init.xavier_normal_(layer.weight)
            elif isinstance(layer, nn.ConvTranspose2d):
                # a pixel sums over k^2 / stride^2 weights of each input channel; torch takes out k^2 for it
                taps = prod(layer.kernel_size) / prod(layer.stride)
                nn.init.normal_(layer.weight, std=sqrt(2 / (layer.in_channels * taps)))
            else:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return Networks(encoder, decoder)
