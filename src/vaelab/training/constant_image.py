"""The best constant image of a run's data: what a decoder that ignores z can do."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.data.datamodule import DataModule
from vaelab.data.images import ImageSet
from vaelab.functional.images import to_float
from vaelab.models.conditions import Unconditional
from vaelab.models.likelihoods import Likelihood
from vaelab.types import Batch

__all__ = ["ConstantOutput", "constant_distortions", "constant_output", "share_of_distortion"]

PIXELS = 2**26  # of the training images that the constant image is fitted to: 256 MB of float32
FITTED = 10_000  # training images at most


class ConstantOutput(NamedTuple):
    """The best output of a decoder that ignores z (:meth:`~vaelab.models.Likelihood.constant`).

    A decoder that is told the label has an output for each; the last one, that of all images together, is for
    labels that no training image has.
    """

    likelihood: Likelihood  # with its best scale
    theta: Tensor  # (1, C', H, W); with labels (K + 1, C', H, W)
    labels: Tensor | None  # (K,)  in rising order; None where the decoder is told none

    def distortion(self, x: Tensor, y: Tensor | None) -> Tensor:
        """-log p(x|theta) of the images x (B, C, H, W) with labels y (B,): (B,), in float64."""
        which = torch.zeros(len(x), dtype=torch.long)
        if self.labels is not None:
            assert y is not None
            is_label = y[:, None] == self.labels
            which = torch.where(is_label.any(1), is_label.long().argmax(1), len(self.labels))
        return -self.likelihood.log_prob(x.double(), self.theta[which][None])[0]


def constant_output(likelihood: Likelihood, condition: Unconditional, data: DataModule) -> ConstantOutput:
    """The best constant output for a fixed random subset of training images.

    A conditional decoder knows the label at rate 0, so that its output is the best one for each label.
    """
    batches = _sample(data)
    x = torch.cat([batch.x for batch in batches])
    labels = [batch.y for batch in batches if batch.y is not None]
    with torch.no_grad():
        fitted, of_all = likelihood.constant([x])
        if not condition.features or not labels:
            return ConstantOutput(fitted, of_all, None)
        y = torch.cat(labels)
        known = y.unique()
        fitted, theta = likelihood.constant([x[y == label] for label in known])
        return ConstantOutput(fitted, torch.cat([theta, of_all]), known)


def _sample(data: DataModule) -> list[Batch]:
    """A fixed random subset of training images, in floats."""
    count = min(FITTED, max(1, PIXELS // math.prod(data.image_shape)))
    return list(data.training_sample(count))


def constant_distortions(
    likelihood: Likelihood, condition: Unconditional, data: DataModule, splits: Mapping[str, ImageSet]
) -> dict[str, Tensor]:
    """-log p(x|theta) of each image of the splits, (N,), with the :func:`constant_output` theta.

    It is the end of every rate-distortion curve of these data with rate 0; of a conditional model, for which
    everything is given the label, that of images whose label is known.
    """
    constant = constant_output(likelihood, condition, data)
    with torch.no_grad():
        return {
            name: torch.cat([constant.distortion(batch.x, batch.y) for batch in _batches(images)])
            for name, images in splits.items()
        }


def _batches(images: ImageSet, size: int = 512) -> Iterator[Batch]:
    for index in torch.arange(len(images)).split(size):
        batch = images.batch(index)
        yield batch._replace(x=to_float(batch.x))


def share_of_distortion(
    share: float, likelihood: Likelihood, condition: Unconditional, data: DataModule
) -> float:
    """least + share * (constant - least), in nats per image: a target distortion for any data and likelihood.

    ``constant`` is the mean distortion of the best constant image (of each label, where the decoder is told
    it), ``least`` that of perfect reconstructions, both of training images. At share 1 no information about
    the image is needed; 0 can't be reached.

    Raises:
        ValueError: perfect reconstructions have no least distortion, as with a learned variance.
    """
    batches = _sample(data)
    least = torch.cat([likelihood.least_distortion(batch.x) for batch in batches]).mean().item()
    if not math.isfinite(least):
        raise ValueError(
            f"is a share of the distortion that can be avoided, which {type(likelihood).__name__} does not "
            "bound; set model.target_distortion, in nats per image, in its place"
        )
    output = constant_output(likelihood, condition, data)
    with torch.no_grad():
        constant = torch.cat([output.distortion(batch.x, batch.y) for batch in batches]).mean().item()
    return least + share * (constant - least)
