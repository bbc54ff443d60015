"""A residual network for any image of at least 8x8."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

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

__all__ = ["resnet"]


class Residual(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))) with 3x3 convolutions: a pre-activation block.

    "Identity Mappings in Deep Residual Networks" (He et al., 2016, arXiv:1603.05027). It has no batch
    normalisation, so that an image's result does not depend on its batch: none, or that of groups of an
    image's channels. Its second convolution starts at zero and the block as the identity, as in "Fixup
    Initialization" (Zhang et al., 2019, arXiv:1901.09321).

    Args:
        norm: ``norm(width)`` is the normalisation.
    """

    def __init__(
        self, width: int, act: type[nn.Module], norm: Callable[[int], nn.Module] = nn.Identity
    ) -> None:
        super().__init__()
        self.first_norm, self.second_norm = norm(width), norm(width)
        self.first = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.second = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) -> the same shape."""
        change = self.first(self.act(self.first_norm(x)))
        change = self.second(self.act(self.second_norm(change)))
        return x + change


def resnet(
    image_shape: Sequence[int],
    latent_dim: int,
    encoder_outputs: int,
    decoder_channels: int,
    hidden: Sequence[int] = (32, 64),
    blocks: int = 2,
    dense: int = 256,
    activation: str = "relu",
    init: str = "kaiming",
) -> Networks:
    """``conv`` with ``blocks`` residual blocks after each halving of the image, mirrored in the decoder.

    Encoder: for each width in ``hidden`` a 4x4 convolution of stride 2 and the blocks; a layer of ``dense``;
    the posterior's parameters. As blocks start as the identity, with every ``init``, the first step sees
    ``conv``'s signal, whatever the depth.
    """
    check_widths(hidden, least=1)
    check_whole("blocks", blocks, least=0)
    check_whole("dense", dense, least=1)
    sizes = halved_sizes(image_shape, len(hidden))
    act = activation_class(activation)
    flat = hidden[-1] * prod(sizes[-1])

    def stage(width: int) -> list[nn.Module]:
        return [*(Residual(width, act) for _ in range(blocks)), act()]

    down = [layer for i, o in pairwise([image_shape[0], *hidden]) for layer in (halving(i, o), *stage(o))]
    encoder = nn.Sequential(
        *down, nn.Flatten(), nn.Linear(flat, dense), act(), nn.Linear(dense, encoder_outputs)
    )
    up: list[nn.Module] = []
    widths = [*reversed(hidden), decoder_channels]
    for (i, o), (small, large) in zip(pairwise(widths), pairwise(reversed(sizes)), strict=True):
        up += [*stage(i), doubling(i, o, small, large)]
    decoder = nn.Sequential(
        nn.Linear(latent_dim, dense), act(), nn.Linear(dense, flat),
        nn.Unflatten(1, (hidden[-1], *sizes[-1])), *up,
    )  # fmt: skip
    pair = initialised(encoder, decoder, output_layers=(encoder[-1], decoder[-1]), init=init)
    return start_as_identity(pair, Residual)


def start_as_identity(pair: Networks, *kinds: type[nn.Module]) -> Networks:
    """The pair, with zeros as the last weights, ``second``, of its blocks of these kinds."""
    for block in [*pair.encoder.modules(), *pair.decoder.modules()]:
        if isinstance(block, kinds):
            for parameter in block.get_submodule("second").parameters():
                nn.init.zeros_(parameter)
    return pair
