"""Fully connected networks."""

from collections.abc import Sequence
from math import prod

from torch import nn

from vaelab.models.networks.parts import Networks, activation_class, check_widths, dense, initialised

__all__ = ["linear", "mlp"]


def linear(
    image_shape: Sequence[int],
    latent_dim: int,
    encoder_outputs: int,
    decoder_channels: int,
    init: str = "torch",
) -> Networks:
    """One affine map each way: with a Gaussian likelihood, the model of probabilistic PCA."""
    return mlp(image_shape, latent_dim, encoder_outputs, decoder_channels, hidden=(), init=init)


def mlp(
    image_shape: Sequence[int],
    latent_dim: int,
    encoder_outputs: int,
    decoder_channels: int,
    hidden: Sequence[int] = (512,),
    activation: str = "relu",
    init: str = "torch",
) -> Networks:
    """Fully connected: ``hidden`` lists the encoder's layer widths, the decoder mirrors them."""
    _, height, width = image_shape
    check_widths(hidden)
    act = activation_class(activation)
    output_shape = (decoder_channels, height, width)
    encoder = nn.Sequential(
        nn.Flatten(),
        *dense([prod(image_shape), *hidden], act),
        nn.Linear([prod(image_shape), *hidden][-1], encoder_outputs),
    )
    mirrored = [latent_dim, *reversed(hidden)]
    decoder = nn.Sequential(
        *dense(mirrored, act), nn.Linear(mirrored[-1], prod(output_shape)), nn.Unflatten(1, output_shape)
    )
    return initialised(encoder, decoder, output_layers=(encoder[-1], decoder[-2]), init=init)
