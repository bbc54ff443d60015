"""From a source to the images that a run trains, validates and tests on."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from vaelab.data.binarize import binarize as binarized
from vaelab.data.digest import data_digest
from vaelab.data.images import ImageSet, Source, check_finite
from vaelab.data.scaling import Scaling, scaled
from vaelab.functional.images import grey_levels, value_range
from vaelab.functional.randomness import generator

__all__ = ["Splits", "split"]

MATERIALISE_LIMIT = 100_000_000  # bytes: 24,000 binary sprites of 64x64 pixels, or 8,000 colour images


@dataclass(frozen=True, eq=False)
class Splits:
    """The images of a run, as stored."""

    train: ImageSet
    val: ImageSet | None
    test: ImageSet
    redraw: bool  # training images are grey, and every batch is a new Bernoulli draw of them
    factor_names: tuple[str, ...] = ()  # of the columns of ``factors``
    scaling: Scaling | None = None  # how the images were scaled; None if they were not
    class_names: tuple[str, ...] = ()  # of the labels 0, 1, ..., where they are known

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """(Least, greatest) value of any image, once scaled."""
        if self.redraw:
            return 0.0, 1.0
        ranges = [value_range(part.x) for part in self._parts()]
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    @cached_property
    def digest(self) -> str:
        """The digest of the images (:func:`~vaelab.data.digest.data_digest`)."""
        return data_digest(self.train, self.val, self.test)

    @cached_property
    def levels(self) -> int | None:
        """The grey levels (see :func:`~vaelab.functional.images.grey_levels`); None if any image has
        values between them."""
        levels = [grey_levels(part.x) for part in self._parts()] + [2] * self.redraw
        return None if None in levels else max(level for level in levels if level is not None)

    def _parts(self) -> list[ImageSet]:
        """The sets whose values reach the model as they are stored."""
        parts = (None if self.redraw else self.train, self.val, self.test)
        return [part for part in parts if part is not None]


def split(
    source: Source,
    *,
    val_size: int | None,
    train_size: int | None,
    test_size: int | None = None,
    binarize: str = "none",
    scale: str = "none",
) -> Splits:
    """Split and binarise the images of a source, in the same way for every seed and every run.

    From one fixed permutation of the source's pool come, in this order, the test images (only if the source
    has none of its own), the validation images and the training images. A smaller ``train_size`` is a subset
    of a larger one. A source's own held-out images are put into a fixed random order as well, a function of
    their number alone: a file may be sorted by class, and the first N images of any split are thus a random
    subset, the same in every run. Lazy images stay lazy.

    Lazy images for training and validation are rendered into memory once if they take at most
    MATERIALISE_LIMIT; larger sets stay lazy, and so do test images, which are passed once.

    Args:
        source: the images.
        val_size: validation images, taken from the pool; 0 for none; None for the source's own, if any.
        train_size: training images; None for all that are left.
        test_size: test images to take from the pool of a source without a test set; None for a tenth.
        binarize: "none", "threshold", "static" or "dynamic" (see :mod:`vaelab.data.binarize`).
        scale: "none", "standardize" or "minmax", by the training images (see :mod:`vaelab.data.scaling`).

    Raises:
        ValueError: beginning with the argument's name, and with the sizes that would do.
        UserError: a value is NaN or infinite.
    """
    for name, images in (("train", source.train), ("test", source.test)):
        if images is not None:
            check_finite(images.x, f"the {name} images of the data")
    if scale != "none" and binarize != "none":
        raise ValueError(f"scale={scale} is for values, but binarize={binarize} makes them 0 or 1")
    sizes = _sizes(source, test_size, val_size, train_size)
    order = torch.randperm(len(source.train), generator=generator(0, "data/split"))
    test, val, train = order[: sum(sizes)].split(sizes)

    # The draws are made before the splits, so that an image's draw does not depend on the sizes.
    fixed = replace(source.train, x=binarized(source.train.x, binarize, "train"))
    redraw = binarize == "dynamic" and source.train.x.dtype != torch.bool
    own = None if source.val is None else _in_random_order(source.val, binarize, "val")
    drawn = fixed.subset(val) if len(val) else None
    held_out = drawn if own is None else own
    splits = Splits(
        train=(source.train if redraw else fixed).subset(train).materialise(MATERIALISE_LIMIT),
        val=None if held_out is None else held_out.materialise(MATERIALISE_LIMIT),
        test=fixed.subset(test) if source.test is None else _in_random_order(source.test, binarize, "test"),
        redraw=redraw,
        factor_names=source.factor_names,
        class_names=source.class_names,
    )
    return _scaled(splits, Scaling.of(scale, splits.train.x))


def _scaled(splits: Splits, scaling: Scaling | None) -> Splits:
    if scaling is None:
        return splits

    def of(part: ImageSet) -> ImageSet:
        return replace(part, x=scaled(part.x, scaling))

    val = None if splits.val is None else of(splits.val)
    return replace(splits, train=of(splits.train), val=val, test=of(splits.test), scaling=scaling)


def _in_random_order(images: ImageSet, binarize: str, part: str) -> ImageSet:
    """The held-out images of a source, binarised by their places in its file, in a fixed random order."""
    order = torch.randperm(len(images), generator=generator(0, f"data/{part} order"))
    return replace(images, x=binarized(images.x, binarize, part)).subset(order)


def _sizes(source: Source, test_size: int | None, val_size: int | None, train_size: int | None) -> list[int]:
    """How many images of the pool go to (test, validation, training)."""
    pool = len(source.train)
    if pool < 1:
        raise ValueError("source has no images to train on")
    for name, size, least in (("test", test_size, 1), ("val", val_size, 0), ("train", train_size, 1)):
        if size is not None and size < least:
            raise ValueError(f"{name}_size must be >= {least}, got {size}")
    if source.test is None:
        test = max(pool // 10, 1) if test_size is None else test_size
        if test >= pool:
            raise ValueError(f"test_size={test} leaves no image to train on: the set has {pool}")
    elif test_size is not None:
        raise ValueError(
            f"test_size={test_size}, but this data has its own {len(source.test)} test images: "
            "leave test_size=null"
        )
    else:
        test = 0
    left = pool - test
    if source.val is not None and val_size is not None:
        raise ValueError(
            f"val_size={val_size}, but this data has its own {len(source.val)} validation images: "
            "leave val_size=null"
        )
    val_size = val_size or 0
    if val_size >= left:
        raise ValueError(
            f"val_size={val_size} leaves no image to train on: without test images the set has {left}. "
            f"At most {left - 1}; 0 for no validation"
        )
    left -= val_size
    if train_size is not None and train_size > left:
        raise ValueError(
            f"train_size={train_size} is larger than the {left} images left of {pool} "
            f"(test {test}, val_size={val_size}). At most {left}; null for all of them"
        )
    return [test, val_size, left if train_size is None else train_size]
