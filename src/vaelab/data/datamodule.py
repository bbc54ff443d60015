"""Loaders and scaling for the splits of any source."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch

from vaelab.data.augment import UNCHANGED, Augmentation
from vaelab.data.binarize import bernoulli
from vaelab.data.images import ImageSet
from vaelab.data.loader import InMemoryLoader, Sequential, Shuffled
from vaelab.data.splits import Splits
from vaelab.data.subsets import random_subset
from vaelab.errors import UserError
from vaelab.functional.images import to_float
from vaelab.functional.randomness import generator
from vaelab.types import Batch

__all__ = ["DataModule"]


class DataModule(pl.LightningDataModule):
    """Train, validation and test images, cut into :class:`~vaelab.types.Batch`.

    Args:
        splits: the images (:func:`~vaelab.data.splits.split`).
        batch_size: images per training step and rank; the last batch of an epoch may be shorter.
        seed: of the training order and of dynamic binarisation; None for a random one.
        eval_batch_size: images per validation and test step; None for max(batch_size, 256).
        augmentation: random changes of training images.

    Attributes:
        train, val, test: image sets, as stored. val is None if there are no validation images.
        image_shape: (C, H, W).
        value_range: (least, greatest) value of any image of the splits, once scaled.
        scaling: how the images were scaled by ``data.scale``; None if they were not.
        factor_names: names of the columns of ``factors``.
        batches_at_once: how many batches of training images a batch of ``train_dataloader`` consists of
            (:mod:`vaelab.training.at_once`).

    Raises:
        ValueError: a batch size below 1, or changes that such images do not allow.
    """

    def __init__(
        self,
        splits: Splits,
        *,
        batch_size: int,
        seed: int | None,
        eval_batch_size: int | None = None,
        augmentation: Augmentation = UNCHANGED,
    ) -> None:
        super().__init__()
        self.splits = splits
        self.train, self.val, self.test = splits.train, splits.val, splits.test
        self.factor_names = splits.factor_names
        self.image_shape = splits.train.image_shape
        self.value_range = splits.value_range
        self.scaling = splits.scaling
        self.batch_size = batch_size
        self.eval_batch_size = max(batch_size, 256) if eval_batch_size is None else eval_batch_size
        if min(self.batch_size, self.eval_batch_size) < 1:
            raise ValueError(f"batch sizes must be >= 1, got {self.batch_size} and {self.eval_batch_size}")
        augmentation.check(*self.image_shape[1:])
        self.augmentation = augmentation
        self.batches_at_once = 1
        self.seed = secrets.randbits(63) if seed is None else seed

    @property
    def levels(self) -> int | None:
        """The grey levels of all splits (:attr:`Splits.levels`)."""
        return self.splits.levels

    @property
    def has_validation(self) -> bool:
        return self.val is not None

    @property
    def held_out(self) -> ImageSet:
        """The images to look at during training: validation, or test where there is none."""
        return self.test if self.val is None else self.val

    def train_dataloader(self) -> InMemoryLoader:
        seed, rank, world_size = self._shard()
        if len(self.train) < world_size:
            raise UserError(
                f"data.train_size: {len(self.train)} images are too few for {world_size} devices."
            )
        # trainer.overfit_batches takes the first batches of an epoch: they have to be the same in every epoch
        fixed = self.trainer is not None and self.trainer.overfit_batches > 0  # type: ignore[attr-defined]
        sampler = Shuffled(len(self.train), seed, rank, world_size, fixed=fixed)
        return InMemoryLoader(
            self.train,
            self.batch_size,
            sampler,
            seed=seed,
            redraw=self.splits.redraw,
            augment=self.augmentation,
            at_once=self.batches_at_once,
        )

    def val_dataloader(self) -> InMemoryLoader | list[Any]:
        """The validation batches; an empty list, by which Lightning skips validation, if there are none."""
        return [] if self.val is None else self._in_order(self.val)

    def test_dataloader(self) -> InMemoryLoader:
        return self._in_order(self.test)

    def training_sample(self, count: int, batch_size: int = 512) -> Iterator[Batch]:
        """A fixed random subset of ``count`` training images in batches, with the images in floats.

        Images that are binarised anew for every training batch are binarised by one fixed draw.
        """
        for number, index in enumerate(random_subset(len(self.train), count).split(batch_size)):
            batch = self.train.batch(index)
            if self.splits.redraw:
                batch = batch._replace(x=bernoulli(batch.x, generator(0, "data/sample/binarize", number)))
            yield batch._replace(x=to_float(batch.x))

    def state_dict(self) -> dict[str, int]:
        """For the checkpoint: the seed of the training order, which may have been drawn, and its units."""
        return {"seed": self.seed, "batches_at_once": self.batches_at_once}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.seed = state_dict["seed"]
        self.batches_at_once = state_dict.get("batches_at_once", 1)  # those of the epoch that goes on

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """The batch on ``device``, field by field: Lightning's way for any nested collection takes longer."""
        moved = (field if field is None else field.to(device, non_blocking=True) for field in batch)
        return Batch._make(moved)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Scale the images to float32 (see :func:`to_float`), on the device: the transfer carries bytes."""
        return batch._replace(x=to_float(batch.x))

    def _in_order(self, images: ImageSet) -> InMemoryLoader:
        _, rank, world_size = self._shard()
        return InMemoryLoader(images, self.eval_batch_size, Sequential(len(images), rank, world_size))

    def _shard(self) -> tuple[int, int, int]:
        """(seed, rank, world size); the ranks agree on the first one's seed, which may have been drawn."""
        if self.trainer is None:
            return self.seed, 0, 1
        seed = self.trainer.strategy.broadcast(self.seed)
        return seed, self.trainer.global_rank, self.trainer.world_size
