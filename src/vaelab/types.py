"""What the parts exchange, with the shape of each field.

Shapes: B images in a batch, S posterior samples per image, D latent dimensions, (C, H, W) one image.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

__all__ = ["AfterStep", "Batch", "LatentStats", "Noise", "Output", "RunContext", "Total"]

OF_TERMS = ("log_weights", "beta", "x", "reconstruction")  # fields of LatentStats that metrics don't get

Total = Callable[[Tensor], Tensor]  # a sum over one device's images -> the sum over all devices


class AfterStep(NamedTuple):
    """What a part gets beside q(z|x) after an optimizer step, to change its buffers by."""

    total: Total
    generator: Callable[[str], torch.Generator]  # of a stream by its name, the seed and the step; on the CPU
    first: bool  # whether this is the first device


class Batch(NamedTuple):
    """A batch of images with their labels, factors and positions, where the data have them."""

    x: Tensor  # (B, C, H, W)  as stored; float once it is on the device (functional.images.to_float)
    y: Tensor | None = None  # (B,)  class labels
    factors: Tensor | None = None  # (B, F)  ground-truth factors of variation
    position: Tensor | None = None  # (B,)  the image's index in its split

    def split(self, size: int) -> "list[Batch]":
        """Batches of ``size`` images; the last may be smaller."""
        return [
            Batch._make(None if field is None else field[first : first + size] for field in self)
            for first in range(0, len(self.x), size)
        ]


class RunContext(NamedTuple):
    """What only the run knows: the facts about its data that no config file holds, and the latent dimension.

    :func:`vaelab.training.assembly.build` passes it on: every part, whatever its kind, gets those fields that
    its signature names and its YAML node does not set. A part that needs the number of training images writes
    ``def __init__(self, ..., dataset_size: int)`` and nothing else.
    """

    image_shape: tuple[int, ...]  # (C, H, W)
    latent_dim: int  # D
    dataset_size: int  # training images
    num_classes: int | None = None  # the labels are 0, ..., num_classes - 1; None if they are not
    no_classes: str = ""  # why num_classes is None, as a clause
    value_range: tuple[float, float] = (0.0, 1.0)  # the least and the largest value of the images
    levels: int | None = None  # L if every value is one of 0, 1/(L-1), ..., 1 (functional.images.grey_levels)
    scaling: dict[str, Any] | None = None  # by data.scale (data.scaling.Scaling.plain); None if not scaled
    latent_shape: tuple[int, ...] = ()  # (C, h, w) of a latent map, D = C h w; empty: z is a vector
    target_distortion: float | None = None  # nats per image, of model.target_share; None without one
    mean_image: Tensor | None = None  # (C, H, W)  of training images; None for a model read from a checkpoint

    def plain(self) -> dict[str, Any]:
        """Everything but the mean image, as plain types: a checkpoint holds this."""
        fields = {name: value for name, value in self._asdict().items() if name != "mean_image"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The context that :meth:`plain` describes."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
        }
        return cls(**fields)


class Noise(NamedTuple):
    """All randomness of one forward pass, drawn outside of the model and passed in."""

    posterior: Tensor  # (S, B, D)  standard normal; turned into z by the posterior
    prior: Tensor  # (B, D)     standard normal; turned into an independent prior sample by the prior
    # (B, C, H, W) standard normal, for the corruption of the encoder's input; empty without corruption
    corruption: Tensor = torch.empty(0)
    # (B,) standard normal, for the beta that a condition draws for each image; empty without such a one
    beta: Tensor = torch.empty(0)


class LatentStats:
    """The statistics of one forward pass, in nats; objective terms and metrics read them by field name.

    A field may be given as a function of these statistics. It is called when the field is first read, so that
    a training step computes what its objective reads and nothing else. It gets the statistics as an argument:
    holding them would make a cycle, and a step's activations would stay in memory until the garbage
    collector's next round.

    Raises:
        TypeError: a name that is not a field.
    """

    distortion: Tensor  # (S, B)     -log p(x|z), summed over pixels
    rate: Tensor  # (B,)       KL(q(z|x) || p(z)), or an estimate of it; NaN, not 0, where it is undefined
    kl: Tensor  # (B, D)     KL(q(z_d|x) || p(z_d)), which sum to the rate; NaN where they do not exist
    loc: Tensor  # (B, D)     posterior mean
    scale: Tensor  # (B, D)     posterior standard deviation; 0 where q is deterministic
    z: Tensor  # (S, B, D)  posterior samples
    log_q: Tensor  # (S, B)     log q(z|x); NaN where q has none
    log_p: Tensor  # (S, B)     log p(z)
    z_prior: Tensor  # (B, D)     an independent prior sample
    q: Any  # all parameters of q(z|x), a named tuple of the posterior's
    # (2, S, B)  log p(x, z) - log q(z|x) with other gradients, for terms alone, as it costs a second pass of
    # the decoder: the first with the parameters of q fixed, so that it reaches the encoder through z alone;
    # the second with z fixed too
    log_weights: Tensor
    beta: Tensor  # (B,)  that a condition drew for each image; empty without such a one
    x: Tensor  # (B, C, H, W)  the images, for terms; metrics get them as they are stored
    reconstruction: Tensor  # (S, B, C, H, W)  E[x|z], for terms

    def __init__(self, **fields: Any) -> None:
        unknown = fields.keys() - LatentStats.__annotations__.keys()
        if unknown:
            raise TypeError(f"LatentStats has no fields {', '.join(sorted(unknown))}")
        self._fields = fields

    def __getattr__(self, name: str) -> Any:  # called for what is not an attribute yet
        try:
            value = self.__dict__["_fields"][name]
        except KeyError as error:
            raise AttributeError(f"LatentStats without {name}") from error
        value = value(self) if callable(value) else value
        setattr(self, name, value)
        return value

    def for_metrics(self) -> dict[str, Any]:
        """Every field that was given, by name, but for those of terms alone."""
        return {name: getattr(self, name) for name in self._fields if name not in OF_TERMS}

    def replace(self, **fields: Any) -> Self:
        """The same statistics with some fields replaced."""
        return type(self)(**(self._fields | fields))


class Output(NamedTuple):
    """One forward pass of an :class:`~vaelab.models.autoencoder.Autoencoder`."""

    loss: Tensor  # ()  the weighted sum of the terms, to be minimised
    terms: dict[str, Tensor]  # ()  each term unweighted, mean over images
    stats: LatentStats
    decoded: Tensor  # (S, B, C', H, W)  the decoder's output: the likelihood's natural parameters
