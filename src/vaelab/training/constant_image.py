"""The best constant image of a run's data: what a decoder that ignores z can do."""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from vaelab.data.datamodule import DataModule
from vaelab.data.images import ImageSet
from vaelab.functional.images import to_float
from vaelab.models.likelihoods import Likelihood

__all__ = ["constant_distortions", "share_of_distortion", "training_images"]

PIXELS = 2**26  # of the training images that the constant image is fitted to: 256 MB of float32
FITTED = 10_000  # training images at most


def training_images(data: DataModule) -> Tensor:
    """A fixed random subset of training images, (N, C, H, W), in floats."""
    count = min(FITTED, max(1, PIXELS // math.prod(data.image_shape)))
    return torch.cat([batch.x for batch in data.training_sample(count)])


def constant_distortions(
    likelihood: Likelihood, data: DataModule, splits: Mapping[str, ImageSet]
) -> dict[str, Tensor]:
    """-log p(x|theta) of each image of the splits, (N,), with the best constant output theta.

    It is fitted to training images (:meth:`~vaelab.models.Likelihood.constant`), and is the end of every
    rate-distortion curve of these data with rate 0.
    """
    with torch.no_grad():
        fitted, theta = likelihood.constant(training_images(data))
        return {
            name: torch.cat(
                [-fitted.log_prob(x, theta.expand(1, len(x), *theta.shape))[0] for x in _parts(images)]
            )
            for name, images in splits.items()
        }


def _parts(images: ImageSet, size: int = 512) -> Iterator[Tensor]:
    for index in torch.arange(len(images)).split(size):
        yield to_float(images.batch(index).x)


def share_of_distortion(share: float, likelihood: Likelihood, data: DataModule) -> float:
    """least + share * (constant - least), in nats per image: a target distortion for any data and likelihood.

    ``constant`` is the mean distortion of the best constant image, ``least`` that of perfect reconstructions,
    both of training images. At share 1 no information about the image is needed; 0 can't be reached.

    Raises:
        ValueError: perfect reconstructions have no least distortion, as with a learned variance.
    """
    x = training_images(data)
    least = likelihood.least_distortion(x).mean().item()
    if not math.isfinite(least):
        raise ValueError(
            f"is a share of the distortion that can be avoided, which {type(likelihood).__name__} does not "
            "bound; set model.target_distortion, in nats per image, in its place"
        )
    with torch.no_grad():
        fitted, theta = likelihood.constant(x)
        constant = -fitted.log_prob(x, theta.expand(1, len(x), *theta.shape)).mean().item()
    return least + share * (constant - least)
