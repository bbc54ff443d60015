"""Batches by one indexing operation each: no worker processes, no Python per image."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from vaelab.data.augment import UNCHANGED, Augmentation
from vaelab.data.binarize import bernoulli
from vaelab.data.images import ImageSet
from vaelab.functional.randomness import generator
from vaelab.types import Batch

__all__ = ["InMemoryLoader", "Sequential", "Shuffled"]


@dataclass
class Sequential:
    """Positions 0 .. size-1 in order, distributed over the ranks: every position on exactly one of them.

    Shards differ by one position at most; none is repeated, so that no image counts twice in a metric.
    """

    size: int
    rank: int = 0
    world_size: int = 1
    epoch: ClassVar[int] = 0  # every pass is the same
    draw: ClassVar[int] = 0

    def indices(self) -> Tensor:
        """The positions of this rank (n,), int64."""
        return torch.arange(self.rank, self.size, self.world_size)

    def __len__(self) -> int:
        return len(range(self.rank, self.size, self.world_size))


@dataclass
class Shuffled:
    """A permutation of 0 .. size-1, a function of (seed, epoch) alone, distributed over the ranks.

    All shards have one length, since ranks that wait for each other must take equally many steps: the last
    ``size % world_size`` positions of an epoch's permutation are dropped (other images in every epoch).
    Lightning calls :meth:`set_epoch` before every epoch; without Lightning, call it yourself. With ``fixed``
    every epoch has the permutation of the first one.
    """

    size: int
    seed: int
    rank: int = 0
    world_size: int = 1
    epoch: int = 0
    fixed: bool = False

    @property
    def draw(self) -> int:
        """The number of this epoch's random draw."""
        return 0 if self.fixed else self.epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def indices(self) -> Tensor:
        """The positions of this rank in this epoch (n,), int64."""
        order = torch.randperm(self.size, generator=generator(self.seed, "data/order", self.draw))
        return order[self.rank :: self.world_size][: len(self)]

    def __len__(self) -> int:
        return self.size // self.world_size


class InMemoryLoader:
    """Iterates over the batches of an image set as they are stored; the last one may be short.

    The images are changed at random by ``augment``, and with ``redraw`` every batch is a new Bernoulli draw
    of them. All draws are functions of (seed, epoch, rank, batch), so that an epoch can be repeated exactly.
    ``at_once`` batches are given as one, for a training that takes a step for each: the images are the same.

    ``state_dict`` holds the position in the epoch, and a loader that has loaded it continues there, once.
    """

    batch_sampler = None  # Lightning looks for it wherever there is a sampler

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        sampler: Sequential | Shuffled,
        *,
        seed: int = 0,
        redraw: bool = False,
        augment: Augmentation = UNCHANGED,
        at_once: int = 1,
    ) -> None:
        self.images = images
        self.batch_size = batch_size
        self.sampler = sampler
        self.seed = seed
        self.redraw = redraw
        self.augment = augment
        self.at_once = at_once
        self._served = 0  # batches of the epoch that have been yielded
        self._resume: tuple[int, int] | None = None  # epoch, batches of it to leave out

    @property
    def batches(self) -> int:
        """The batches of an epoch."""
        return -(-len(self.sampler) // self.batch_size)

    def __len__(self) -> int:
        return -(-self.batches // self.at_once)

    def __iter__(self) -> Iterator[Batch]:
        epoch, done = self._resume or (None, 0)
        self._resume = None
        self._served = done if epoch == self.sampler.epoch else 0
        indices = self.sampler.indices()
        for first in range(self._served, self.batches, self.at_once):
            last = min(first + self.at_once, self.batches)
            batch = self.images.batch(indices[first * self.batch_size : last * self.batch_size])
            self._served = last
            yield batch._replace(x=self._changed(batch.x, first)) if self._changes else batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.sampler.epoch, "served": self._served}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._resume = (state_dict["epoch"], state_dict["served"])

    @property
    def _changes(self) -> bool:
        return self.redraw or self.augment != UNCHANGED

    def _changed(self, x: Tensor, first: int) -> Tensor:
        """The images of the batches from number ``first`` on, each changed by its own random numbers."""
        changed = []
        for number, part in enumerate(x.split(self.batch_size), start=first):
            random = partial(self._random, number)
            part = self.augment.apply(part, random)
            changed.append(bernoulli(part, random("data/binarize")) if self.redraw else part)
        return torch.cat(changed)

    def _random(self, number: int, stream: str) -> torch.Generator:
        """The random numbers of a batch of this epoch."""
        return generator(self.seed, stream, self.sampler.draw, self.sampler.rank, number)
