"""Splits, loaders and scaling for any source."""

import secrets
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch

from vaelab.data.binarize import binarize as binarized
from vaelab.data.binarize import check_mode
from vaelab.data.images import ImageSet, Source, check_finite
from vaelab.data.loader import InMemoryLoader, Sequential, Shuffled
from vaelab.errors import UserError
from vaelab.functional.images import grey_levels, to_float, value_range
from vaelab.functional.randomness import generator
from vaelab.types import Batch

MATERIALISE_LIMIT = 20_000  # images; 80 MB of binary 64x64 sprites


class DataModule(pl.LightningDataModule):
    """Train, validation and test images of a source, cut into :class:`~vaelab.types.Batch`.

    The splits are the same for every seed and every run: one fixed permutation of the source's pool, from
    which come, in this order, the test images (only if the source has none of its own), the validation
    images and the training images. A smaller ``train_size`` is a subset of a larger one.

    Everything is decided in the constructor, so that every mistake shows there. Lazy images that are
    trained or validated on are rendered into memory once if they are at most MATERIALISE_LIMIT; larger sets
    and test images, which are passed once, stay lazy.

    Args:
        source: the images.
        batch_size: images per training step and rank; the last batch of an epoch may be shorter.
        val_size: validation images, taken from the pool; 0 for none.
        train_size: training images; None for all that are left.
        binarize: "none", "threshold", "static" or "dynamic" (see :mod:`vaelab.data.binarize`).
        seed: of the training order and of dynamic binarisation; None draws one that no one else has.
        test_size: test images to take from the pool of a source without a test set; None for a tenth.
        eval_batch_size: images per validation and test step; None for max(batch_size, 256).

    Attributes:
        train, val, test: image sets, as stored; with "dynamic", train is grey and drawn batch by batch.
            val is None if ``val_size`` is 0.
        image_shape: (C, H, W).
        value_range: (least, greatest) value of any image of the splits, once scaled.
        factor_names: names of the columns of ``factors``.

    Raises:
        UserError: naming the key and the sizes that would do.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        val_size: int,
        train_size: int | None,
        binarize: str = "none",
        seed: int | None,
        test_size: int | None = None,
        eval_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        check_mode(binarize)
        for name, images in (("train", source.train), ("test", source.test)):
            if images is not None:
                check_finite(images.x, f"the {name} images of the data")
        self.batch_size = _whole("batch_size", batch_size, least=1)
        self.eval_batch_size = (
            max(batch_size, 256)
            if eval_batch_size is None
            else _whole("eval_batch_size", eval_batch_size, least=1)
        )
        self.seed = secrets.randbits(63) if seed is None else seed
        self.factor_names = source.factor_names
        self.image_shape = source.train.image_shape

        sizes = _sizes(source, test_size, val_size, train_size)
        order = torch.randperm(len(source.train), generator=generator(0, "data/split"))
        test, val, train = order[: sum(sizes)].split(sizes)

        # The draws are made before the splits, so that an image's draw does not depend on the sizes.
        still = replace(source.train, x=binarized(source.train.x, binarize, "train"))
        self._redraw = binarize == "dynamic" and source.train.x.dtype != torch.bool
        self.train = (source.train if self._redraw else still).subset(train).materialise(MATERIALISE_LIMIT)
        self.val = still.subset(val).materialise(MATERIALISE_LIMIT) if val_size else None
        self.test = (
            still.subset(test)
            if source.test is None
            else replace(source.test, x=binarized(source.test.x, binarize, "test"))
        )
        self.value_range = self._value_range()

    @property
    def levels(self) -> int | None:
        """The grey levels of all splits (see :func:`grey_levels`); None if any image has values between."""
        found = [2 if part is self.train and self._redraw else grey_levels(part.x) for part in self._splits]
        return None if None in found else max(level for level in found if level is not None)

    @property
    def _splits(self) -> list[ImageSet]:
        return [part for part in (self.train, self.val, self.test) if part is not None]

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
        sampler = Shuffled(len(self.train), seed, rank, world_size)
        return InMemoryLoader(self.train, self.batch_size, sampler, redraw=seed if self._redraw else None)

    def val_dataloader(self) -> InMemoryLoader | list[Any]:
        """The validation batches; an empty list, Lightning's word for no validation, if there are none."""
        return [] if self.val is None else self._in_order(self.val)

    def test_dataloader(self) -> InMemoryLoader:
        return self._in_order(self.test)

    def state_dict(self) -> dict[str, int]:
        """For the checkpoint: the seed of the training order, which may have been drawn."""
        return {"seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.seed = state_dict["seed"]

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """The batch on ``device``, field by field: Lightning's way for any nested collection takes longer."""
        moved = (field if field is None else field.to(device, non_blocking=True) for field in batch)
        return Batch._make(moved)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Scale the images to float32 (see :func:`to_float`), on the device: the transfer carries bytes."""
        return batch._replace(x=to_float(batch.x))

    def _value_range(self) -> tuple[float, float]:
        if self._redraw:
            return 0.0, 1.0
        ranges = [value_range(part.x) for part in self._splits]
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    def _in_order(self, images: ImageSet) -> InMemoryLoader:
        _, rank, world_size = self._shard()
        return InMemoryLoader(images, self.eval_batch_size, Sequential(len(images), rank, world_size))

    def _shard(self) -> tuple[int, int, int]:
        """(seed, rank, world size); the ranks agree on the first one's seed, which may have been drawn."""
        if self.trainer is None:
            return self.seed, 0, 1
        seed = self.trainer.strategy.broadcast(self.seed)
        return seed, self.trainer.global_rank, self.trainer.world_size


def _whole(key: str, value: Any, least: int) -> int:
    """``value`` if it is a whole number, at least ``least``; else a UserError that names ``data.<key>``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"data.{key} is {value}; it must be a whole number of images, at least {least}.")
    return value


def _sizes(source: Source, test_size: int | None, val_size: int, train_size: int | None) -> list[int]:
    """How many images of the pool go to (test, validation, training); UserErrors name key and numbers."""
    pool = len(source.train)
    if pool < 1:
        raise UserError("The data holds no images to train on.")
    if source.test is None:
        test = max(pool // 10, 1) if test_size is None else _whole("test_size", test_size, least=1)
        if test >= pool:
            raise UserError(
                f"data.test_size={test} is larger than the set: it has {pool} images, and training needs one."
            )
    elif test_size is not None:
        raise UserError(
            f"data.test_size={test_size}, but this data has its own {len(source.test)} test images: "
            "leave data.test_size=null."
        )
    else:
        test = 0
    left = pool - test
    if _whole("val_size", val_size, least=0) >= left:
        raise UserError(
            f"data.val_size={val_size} is larger than the set: without test images it has {left}, "
            f"and training needs one. At most {left - 1}; 0 for no validation."
        )
    left -= val_size
    if train_size is None:
        return [test, val_size, left]
    if _whole("train_size", train_size, least=1) > left:
        raise UserError(
            f"data.train_size={train_size} is larger than the {left} images left of {pool} "
            f"(test {test}, data.val_size={val_size}). At most {left}; null for all of them."
        )
    return [test, val_size, train_size]
