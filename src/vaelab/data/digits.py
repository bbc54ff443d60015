"""The 1,797 handwritten 8x8 digits that come with scikit-learn: real data without a download.

"Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak, UCI repository, 1998), its test part.
"""

import torch

from vaelab.data.images import ImageSet, Source
from vaelab.functional.randomness import generator

__all__ = ["load_digits"]

TEST_SIZE = 360  # a fifth


def load_digits() -> Source:
    """1,437 images to train on and 360 to test on, (N, 1, 8, 8) float32 in [0, 1]; y: the digit.

    The pixels are counts from 0 to 16, so x = count / 16 is exact in float32.
    """
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    everything = ImageSet(
        torch.from_numpy(images).float().div_(16).view(-1, 1, 8, 8), torch.from_numpy(labels).long()
    )
    order = torch.randperm(len(everything), generator=generator(0, "data/digits/test"))
    return Source(everything.subset(order[TEST_SIZE:]), everything.subset(order[:TEST_SIZE]), files=())
