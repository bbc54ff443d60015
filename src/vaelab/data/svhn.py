"""SVHN: house numbers in photos of streets, cropped to single digits.

"Reading Digits in Natural Images with Unsupervised Feature Learning" (Netzer, Wang, Coates, Bissacco, Wu &
Ng, 2011), http://ufldl.stanford.edu/housenumbers/, its format 2

A .mat file has X (32, 32, 3, N) uint8 and y (N, 1), where the digit 0 is 10. The 531,131 further training
images of extra_32x32.mat are not used.
"""

from pathlib import Path

import numpy as np
import torch

from vaelab.data.download import Published, find_or_fetch
from vaelab.data.images import ImageSet, Source
from vaelab.data.matlab import read_mat
from vaelab.errors import UserError

__all__ = ["SVHN", "load_svhn"]

# The checksums are those that torchvision publishes for its downloads.
SVHN = Published(
    folder="SVHN",
    checksums={
        "train_32x32.mat": "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "md5:eb5a983be6a315427106f1b164d9cef3",
    },
    mirrors=("http://ufldl.stanford.edu/housenumbers/",),
    advice="torchvision downloads the same files.",
)


def load_svhn(root: str, download: bool = True) -> Source:
    """73,257 and 26,032 digits, (N, 3, 32, 32) uint8; y: the digit.

    The files are looked for in ``root/SVHN`` and ``root``, and downloaded into the former (246 MB).

    Raises:
        UserError: files are missing (:func:`~vaelab.data.download.find_or_fetch`) or damaged.
    """
    train, test = find_or_fetch(SVHN, root, download)
    return Source(_image_set(train), _image_set(test), files=(train, test))


def _image_set(file: Path) -> ImageSet:
    arrays = read_mat(file, {"X": (32, 32, 3, None), "y": (None, 1)})
    images, labels = arrays["X"], arrays["y"][:, 0]
    if images.dtype != np.uint8:
        raise UserError(f"Array 'X' of {file} is {images.dtype}; it must be uint8.")
    if len(labels) != images.shape[3] or not np.isin(labels, range(1, 11)).all():
        raise UserError(
            f"Array 'y' of {file} must have the label of each of its {images.shape[3]} images, 1 to 10."
        )
    x = torch.from_numpy(np.ascontiguousarray(images.transpose(3, 2, 0, 1)))
    return ImageSet(x, torch.from_numpy(labels.astype(np.int64) % 10))
