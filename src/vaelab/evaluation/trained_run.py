"""A trained run as evaluations see it: the model, its data, and the codes of its images."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from vaelab.data.datamodule import DataModule
from vaelab.data.images import ImageSet
from vaelab.functional.images import to_float
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import Codes, encoded
from vaelab.training.assembly import build_data
from vaelab.training.loading import load
from vaelab.types import Batch

T = TypeVar("T")

BATCH = 512  # images at once
SEED = 0  # not the run's: every run is evaluated with the same noise


class NotApplicable(Exception):
    """Why an evaluation makes no sense for a run, in words: no labels, no density."""


class TrainedRun:
    """A finished run: model and data are loaded when they are first asked for.

    Splits are ``train``, ``val`` and ``test``, in their fixed order; ``limit`` takes the first so many
    images. Noise belongs to the split and the image alone, so that runs are evaluated with the same.

    Args:
        folder: the run's.
        record: its ``results.json``.
        cache: a folder that all runs share, for feature networks.
        device: where the model is.
        quiet: no progress bars.
    """

    def __init__(
        self, folder: Path, record: dict[str, Any], cache: Path, device: str = "cpu", quiet: bool = False
    ) -> None:
        self.folder = folder
        self.record = record
        self.cache = cache
        self.device = torch.device(device)
        self.quiet = quiet
        self._codes: dict[tuple[str, int], Codes] = {}

    @cached_property
    def config(self) -> DictConfig:
        config: DictConfig = OmegaConf.create(self.record["config"])
        return config

    @cached_property
    def model(self) -> Autoencoder:
        """The weights that the record's metrics were measured with, in evaluation mode."""
        return load(self.folder, device=str(self.device)).requires_grad_(False)

    @cached_property
    def data(self) -> DataModule:
        return build_data(self.config)

    def split(self, name: str) -> ImageSet:
        """The images of a split, as they are stored.

        Raises:
            NotApplicable: the run has no validation images.
        """
        chosen: ImageSet | None = {"train": self.data.train, "val": self.data.val, "test": self.data.test}[
            name
        ]
        if chosen is None:
            raise NotApplicable(f"the run has no {name} images")
        return chosen

    def images(self, split: str, limit: int | None = None) -> Tensor:
        """(N, C, H, W) floats on the CPU."""
        chosen = self.split(split)
        return to_float(chosen.x[self._first(chosen, limit)])

    def labels(self, split: str, limit: int | None = None) -> Tensor | None:
        """Class labels (N,), if the data have any."""
        chosen = self.split(split)
        return None if chosen.y is None else chosen.y[self._first(chosen, limit)]

    def factors(self, split: str, limit: int | None = None) -> Tensor | None:
        """Ground-truth factors of variation (N, F), if the data have any."""
        chosen = self.split(split)
        return None if chosen.factors is None else chosen.factors[self._first(chosen, limit)]

    def batches(self, split: str, limit: int | None = None, batch_size: int = BATCH) -> Iterator[Batch]:
        """The images in order, as floats on the model's device."""
        chosen = self.split(split)
        for index in self._first(chosen, limit).split(batch_size):
            x, y, factors, position = chosen.batch(index)
            yield Batch(
                to_float(x.to(self.device)),
                None if y is None else y.to(self.device),
                None if factors is None else factors.to(self.device),
                position,
            )

    def codes(self, split: str, limit: int | None = None) -> Codes:
        """q(z|x) of the images, and a sample of each; computed once."""
        chosen = self.split(split)
        number = len(self._first(chosen, limit))
        if (split, number) not in self._codes:
            self._codes[split, number] = encoded(self.model, chosen, number, f"evaluation/codes/{split}")
        return self._codes[split, number]

    def progress(self, iterable: Iterable[T], label: str, total: int | None = None) -> Iterable[T]:
        """The same items, with a progress bar on a terminal."""
        from tqdm import tqdm

        # None: tqdm shows nothing where standard error is no terminal
        bar: Iterable[T] = tqdm(
            iterable, desc=label, total=total, leave=False, disable=True if self.quiet else None
        )
        return bar

    @staticmethod
    def _first(chosen: ImageSet, limit: int | None) -> Tensor:
        return torch.arange(len(chosen) if limit is None else min(limit, len(chosen)))
