"""Networks whose latents keep their place: a map of vectors, as large as the image after a few halvings.

The model's latent stays a vector of D = C h w numbers, a map (C, h, w) row by row, so that every posterior,
prior and measure holds for it as it stands. Only these networks, codebooks and pictures know the map's shape.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vaelab.models.networks.parts import (
    Networks,
    activation_class,
    doubling,
    halved_sizes,
    halving,
    initialised,
)
from vaelab.models.networks.resnet import Residual, start_as_identity
from vaelab.models.numbers import check_whole

__all__ = ["conv_map", "latent_shape_of"]

WIDEST = 4  # times ``width``: the widths double with each halving up to this

Factory = TypeVar("Factory", bound=Callable[..., Networks])


def map_shape(image_shape: Sequence[int], channels: int = 4, down: int = 2) -> tuple[int, int, int]:
    """The shape (C, h, w) of the latents after ``down`` halvings of images (_, H, W), rounding down.

    >>> map_shape((1, 28, 28), channels=4, down=2)
    (4, 7, 7)

    Raises:
        ValueError: numbers below 1, images below 8x8, or more halvings than the image allows.
    """
    check_whole("channels", channels, least=1)
    check_whole("down", down, least=1)
    height, width = halved_sizes(image_shape, down, f"down={down}, each halves the image")[-1]
    return channels, height, width


def latents(shape: Callable[..., tuple[int, ...]]) -> Callable[[Factory], Factory]:
    """Mark a factory of networks whose latents have the shape that ``shape`` gives.

    ``shape`` takes the ``image_shape`` and those of the factory's own arguments that it names.
    """

    def mark(factory: Factory) -> Factory:
        factory.latent_shape = shape  # type: ignore[attr-defined]
        return factory

    return mark


def latent_shape_of(factory: Any) -> Callable[..., tuple[int, ...]] | None:
    """The function that gives the shape of the latents of ``factory``'s networks; None: they are vectors."""
    shape: Callable[..., tuple[int, ...]] | None = getattr(factory, "latent_shape", None)
    return shape


class ToMap(nn.Module):
    """(B, C h w + K) -> (B, C + K, h, w): K further numbers, such as labels, are the same at every place."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, z: Tensor) -> Tensor:
        latent, others = z.split([prod(self.shape), z.shape[-1] - prod(self.shape)], dim=-1)
        planes = others[..., None, None].expand(-1, -1, *self.shape[1:])
        return torch.cat([latent.unflatten(-1, self.shape), planes], dim=1)


class Attention(nn.Module):
    """x + attention among the places of an image, with one head: (B, C, h, w) -> the same shape.

    "Attention Is All You Need" (Vaswani et al., 2017, arXiv:1706.03762), over the h w places. The projection
    of its output starts at zero, and the block as the identity.
    """

    def __init__(self, width: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.norm = norm(width)
        self.inputs = nn.Conv2d(width, 3 * width, kernel_size=1)
        self.second = nn.Conv2d(width, width, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        # places are the sequence, channels the features
        query, key, value = self.inputs(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=-1)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        change: Tensor = self.second(mixed.transpose(1, 2).unflatten(-1, x.shape[2:]))
        return x + change


@latents(map_shape)
def conv_map(
    image_shape: Sequence[int],
    latent_dim: int,
    encoder_outputs: int,
    decoder_channels: int,
    channels: int = 4,
    down: int = 2,
    width: int = 32,
    blocks: int = 0,
    norm_groups: int = 8,
    attention: bool = False,
    activation: str = "silu",
    init: str = "kaiming",
) -> Networks:
    """Convolutional, without dense layers: a latent of ``channels`` at each place of the halved image.

    Encoder: ``down`` 4x4 convolutions of stride 2 with ``width``, 2 ``width``, 4 ``width``, 4 ``width``, ...
    channels, each followed by a normalisation, the activation and ``blocks`` residual blocks; attention among
    the places, if asked for; a 3x3 convolution. The decoder mirrors it. Group normalisation ("Group
    Normalization", Wu & He, 2018, arXiv:1803.08494) takes an image's channels in ``norm_groups``, so that
    an image's result does not depend on its batch; 0: none.

    Raises:
        ValueError: what :func:`map_shape` raises; ``norm_groups`` that do not divide ``width``; or a
            posterior whose numbers can't be shared out among the places.
    """
    shape = map_shape(image_shape, channels, down)
    check_whole("width", width, least=1)
    check_whole("blocks", blocks, least=0)
    check_whole("norm_groups", norm_groups, least=0)
    if norm_groups and width % norm_groups:
        raise ValueError(f"norm_groups must divide width={width}, or be 0 for none, got {norm_groups}")
    places = prod(shape[1:])
    if encoder_outputs % places:
        raise ValueError(
            f"the posterior takes {encoder_outputs} numbers, which can't be shared out among "
            f"{shape[1]}x{shape[2]} places"
        )
    act = activation_class(activation)
    norm = partial(nn.GroupNorm, norm_groups) if norm_groups else nn.Identity
    sizes = halved_sizes(image_shape, down)
    widths = [width * min(2**stage, WIDEST) for stage in range(down)]
    middle = widths[-1]

    def stage(channels: int) -> list[nn.Module]:
        return [norm(channels), act(), *(Residual(channels, act, norm) for _ in range(blocks))]

    def end(channels: int, outputs: int) -> list[nn.Module]:
        # a block ends with a sum, which has neither normalisation nor activation
        before = [norm(channels), act()] if blocks or (attention and channels == middle) else []
        return [*before, nn.Conv2d(channels, outputs, kernel_size=3, padding=1)]

    def among_places() -> list[nn.Module]:
        return [Attention(middle, norm)] if attention else []

    halved = [layer for i, o in pairwise([image_shape[0], *widths]) for layer in (halving(i, o), *stage(o))]
    encoder = nn.Sequential(*halved, *among_places(), *end(middle, encoder_outputs // places), nn.Flatten())
    doubled: list[nn.Module] = []
    steps = zip(pairwise([*reversed(widths), width]), pairwise(reversed(sizes)), strict=True)
    for (i, o), (small, large) in steps:
        doubled += [doubling(i, o, small, large), *stage(o)]
    inputs = channels + latent_dim - prod(shape)  # with further numbers beside the latents
    first = nn.Conv2d(inputs, middle, kernel_size=3, padding=1)
    decoder = nn.Sequential(
        ToMap(shape), first, *stage(middle), *among_places(), *doubled, *end(width, decoder_channels)
    )
    pair = initialised(encoder, decoder, output_layers=(encoder[-2], decoder[-1]), init=init)
    return start_as_identity(pair, Residual, Attention)
