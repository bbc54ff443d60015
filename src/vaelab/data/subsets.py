"""Fixed random subsets of images: what is measured on some images of many."""

import torch
from torch import Tensor

from vaelab.functional.randomness import generator

__all__ = ["random_subset"]


def random_subset(size: int, count: int) -> Tensor:
    """Sorted positions (min(count, size),), int64, of a fixed random subset of ``size`` images.

    It is a function of the size and the count alone, so that every run with the same data gets the same
    images. Smaller subsets are part of larger ones. The first images of a file may be all of one class.

    >>> random_subset(10, 3).tolist() == sorted(random_subset(10, 3).tolist())
    True
    >>> set(random_subset(10, 3).tolist()) < set(random_subset(10, 4).tolist())
    True
    """
    order = torch.randperm(size, generator=generator(0, "data/subset", size))
    return order[: max(0, count)].sort().values
