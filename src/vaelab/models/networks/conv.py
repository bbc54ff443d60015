"""A plain convolutional network for any image of at least 8x8."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from vaelab.models.networks.parts import (
    Networks,
    activation_class,
    check_widths,
    doubling,
    halved_sizes,
    halving,
    initialised,
)
from vaelab.models.numbers import check_whole

__all__ = ["conv"]


def conv(
    image_shape: Sequence[int],
    latent_dim: int,
    encoder_outputs: int,
    decoder_channels: int,
    hidden: Sequence[int] = (32, 64),
    dense: int = 256,
    activation: str = "relu",
    init: str = "kaiming",
) -> Networks:
    """Convolutional: one 4x4 convolution of stride 2 for each width in ``hidden``, then a layer of ``dense``.

    Each stage halves the image (rounding down), so an image of size n allows floor(log2 n) stages; the
    decoder mirrors the stages with transposed convolutions, padded to give back odd sizes exactly.
    """
    check_widths(hidden, least=1)
    check_whole("dense", dense, least=1)
    sizes = halved_sizes(image_shape, len(hidden))
    act = activation_class(activation)
    flat = hidden[-1] * prod(sizes[-1])
    down = [layer for i, o in pairwise([image_shape[0], *hidden]) for layer in (halving(i, o), act())]
    encoder = nn.Sequential(
        *down, nn.Flatten(), nn.Linear(flat, dense), act(), nn.Linear(dense, encoder_outputs)
    )
    up: list[nn.Module] = []
    widths = [*reversed(hidden), decoder_channels]
    for (i, o), (small, large) in zip(pairwise(widths), pairwise(reversed(sizes)), strict=True):
        up += [doubling(i, o, small, large), act()]
    del up[-1]  # no activation on the output
    decoder = nn.Sequential(
        nn.Linear(latent_dim, dense), act(), nn.Linear(dense, flat), act(),
        nn.Unflatten(1, (hidden[-1], *sizes[-1])), *up,
    )  # fmt: skip
    return initialised(encoder, decoder, output_layers=(encoder[-1], decoder[-1]), init=init)
