"""Omniglot in 28x28 pixels: handwritten characters of 50 alphabets, in the split of the IWAE.

The characters are of "Human-level concept learning through probabilistic program induction" (Lake,
Salakhutdinov & Tenenbaum, 2015). These images and this split are of "Importance Weighted Autoencoders"
(Burda, Grosse & Salakhutdinov, 2016), https://arxiv.org/abs/1509.00519, whose code has them in one .mat file:

==========  ===========  =================================================================
data        (784, N)     training images, one in a column, its pixels column by column
target      (50, N)      1 in the row of the image's alphabet, else 0
testdata    (784, M)     test images
testtarget  (50, M)      their alphabets
==========  ===========  =================================================================
"""

from pathlib import Path

import numpy as np
import torch

from vaelab.data.download import Published, find_or_fetch
from vaelab.data.images import ImageSet, Source
from vaelab.data.matlab import read_mat
from vaelab.errors import UserError

__all__ = ["OMNIGLOT", "load_omniglot"]

# Its authors publish no checksum but the one that any Git repository has: the id of the blob in this commit.
OMNIGLOT = Published(
    folder="omniglot",
    checksums={"chardata.mat": "git:016a3536ffe5e1d38e42563a18d7a78bfaf643ec"},
    mirrors=(
        "https://raw.githubusercontent.com/yburda/iwae/78a6075484bd7dd6f47a4bb9880d2295bc7a5220/datasets/OMNIGLOT/",
        "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/",
    ),
    advice="It is published at https://github.com/yburda/iwae, in datasets/OMNIGLOT.",
)
SIZE = 28


def load_omniglot(root: str, path: str | None = None, download: bool = True) -> Source:
    """24,345 and 8,070 characters, (N, 1, 28, 28) float32 in [0, 1]; y: the alphabet.

    ``path`` is the file; without it, it is looked for in ``root/omniglot`` and ``root``, and downloaded into
    the former.

    Raises:
        UserError: the file does not exist, is damaged or has another layout.
    """
    (file,) = find_or_fetch(OMNIGLOT, root, download, path)
    pixels, alphabets = (SIZE * SIZE, None), (None, None)
    arrays = read_mat(
        file, {"data": pixels, "target": alphabets, "testdata": pixels, "testtarget": alphabets}
    )
    return Source(_image_set(file, arrays, ""), _image_set(file, arrays, "test"), files=(file,))


def _image_set(file: Path, arrays: dict[str, np.ndarray], part: str) -> ImageSet:
    images, alphabets = arrays[f"{part}data"], arrays[f"{part}target"]
    if images.shape[1] != alphabets.shape[1] or not _one_hot(alphabets):
        raise UserError(
            f"Array '{part}target' of {file} must have a single 1 for each of the {images.shape[1]} images."
        )
    if not (images.min() >= 0 and images.max() <= 1):
        raise UserError(f"Array '{part}data' of {file} must have values in [0, 1].")
    x = torch.from_numpy(images.T.astype(np.float32)).view(-1, 1, SIZE, SIZE)
    return ImageSet(x.mT.contiguous(), torch.from_numpy(alphabets.argmax(0)))


def _one_hot(columns: np.ndarray) -> bool:
    return bool(np.isin(columns, (0, 1)).all() and (columns.sum(0) == 1).all())
