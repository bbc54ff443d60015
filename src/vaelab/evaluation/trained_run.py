"""The argument of evaluations: a trained run with its model, its data and the codes of its images."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from omegaconf import DictConfig
from torch import Tensor

from vaelab.data.binarize import bernoulli
from vaelab.data.datamodule import DataModule
from vaelab.data.images import ImageSet
from vaelab.errors import UserError
from vaelab.functional.images import to_float
from vaelab.functional.randomness import generator
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import Codes, encoded
from vaelab.runs.places import with_data_found
from vaelab.runs.record import FILE_NAME
from vaelab.training.assembly import build_data
from vaelab.training.loading import Run, load
from vaelab.training.trust import stored_config

__all__ = ["NotApplicable", "TrainedRun", "mean_and_error", "require"]

T = TypeVar("T")

SEED = 0  # fixed, so that all runs are evaluated with the same noise


class NotApplicable(Exception):
    """The reason why an evaluation is undefined for a run, such as missing labels."""


class TrainedRun:
    """A finished run, whose model and data are loaded when they are first used.

    Splits are ``train``, ``val`` and ``test`` in their fixed random order (:func:`vaelab.data.split`);
    ``limit`` selects the first images of it, a random subset of the split. The noise of a code depends only
    on the split and the image's place, so that all runs are evaluated with the same noise.

    Args:
        folder: the run's folder.
        record: its ``results.json``.
        cache: a folder shared by all runs, for feature networks.
        device: the device of the model.
        quiet: True for no progress bars.
        trust: packages of the user's own whose parts the run's config may name.
        beta: of a multi-rate run, the one to evaluate; None for its default.
        places: where its data are, ``path`` or ``root``, if not where the record says.
    """

    def __init__(
        self,
        folder: Path,
        record: dict[str, Any],
        cache: Path,
        device: str = "cpu",
        quiet: bool = False,
        trust: Sequence[str] = (),
        places: Mapping[str, Any] | None = None,
        beta: float | None = None,
    ) -> None:
        self.folder = folder
        self.record = record
        self.cache = cache
        self.device = torch.device(device)
        self.quiet = quiet
        self.trust = trust
        self.places = places
        self.beta = beta
        self._codes: dict[tuple[str, int], Codes] = {}

    @cached_property
    def config(self) -> DictConfig:
        config = with_data_found(self.record["config"], self.folder, self.record, self.places)
        return stored_config(config, self.folder / FILE_NAME, self.trust)

    @cached_property
    def loaded(self) -> Run:
        """The run with the weights measured in the record; of a multi-rate run, the model of all betas."""
        return load(self.folder, device=str(self.device), trust=self.trust)

    @cached_property
    def model(self) -> Autoencoder:
        """The model with the weights measured in the record, in evaluation mode, without gradients."""
        return self.loaded.at(self.beta).requires_grad_(False)

    @cached_property
    def data(self) -> DataModule:
        """The run's images.

        Raises:
            UserError: they are not those with which the run was trained and measured.
        """
        data = build_data(self.config)
        known = (self.record.get("data") or {}).get("sha256")
        if known is not None and data.splits.digest != known:
            path = self.config.data.get("path") or self.config.data.get("root") or "the data"
            raise UserError(f"{path} has other images than those with which {self.folder.name} was trained.")
        return data

    @property
    def dataset(self) -> str:
        return self.record.get("dataset") or "data"

    def images(self, split: str, limit: int | None = None) -> Tensor:
        """Images (N, C, H, W) as the model receives them, as floats on the CPU.

        Training images with ``data.binarize=dynamic``, which are redrawn for every batch, are binarised with
        one draw, the same for every run.
        """
        chosen = self._split(split)
        x = to_float(chosen.x[torch.arange(_count(chosen, limit))])
        if split == "train" and self.data.splits.redraw:
            x = bernoulli(x, generator(SEED, "quality/binarize")).float()
        return x

    def labels(self, split: str, limit: int | None = None) -> Tensor | None:
        """Class labels (N,); None if the data have none."""
        chosen = self._split(split)
        return None if chosen.y is None else chosen.y[: _count(chosen, limit)]

    def codes(self, split: str, limit: int | None = None) -> Codes:
        """q(z|x) of the images and one sample of each, on the CPU; computed once."""
        chosen = self._split(split)
        key = split, _count(chosen, limit)
        if key not in self._codes:
            self._codes[key] = encoded(self.model, chosen, key[1], f"evaluation/codes/{split}")
        return self._codes[key]

    def progress(self, iterable: Iterable[T], label: str, total: int | None = None) -> Iterable[T]:
        """Iterate over the items, with a progress bar if standard error is a terminal."""
        from tqdm import tqdm

        disable = True if self.quiet else None  # None: tqdm decides by the terminal
        bar: Iterable[T] = tqdm(iterable, desc=label, total=total, leave=False, disable=disable)
        return bar

    def _split(self, name: str) -> ImageSet:
        chosen: ImageSet | None = getattr(self.data, name)
        if chosen is None:
            raise NotApplicable(f"the run has no {name} images")
        return chosen


def _count(images: ImageSet, limit: int | None) -> int:
    return len(images) if limit is None else min(limit, len(images))


def mean_and_error(name: str, values: Tensor) -> dict[str, float]:
    """``name``: the mean of the values (N,) that are not NaN; ``name_se``: its standard error, sd / sqrt(N).

    The mean of no value and the standard error of fewer than two values are NaN.
    """
    kept = values[~values.isnan()].double()
    error = kept.std().item() / math.sqrt(len(kept)) if len(kept) > 1 else math.nan
    return {name: kept.mean().item(), f"{name}_se": error}


def require(least: float, **settings: float) -> None:
    """Raise ValueError if one of the settings is smaller than ``least``."""
    for name, value in settings.items():
        if not value >= least:
            raise ValueError(f"{name} must be >= {least}, got {value}")
