"""Images in memory, mapped or rendered on demand, cut into batches by index tensors; one file per source.

A source is a function that returns a :class:`~vaelab.data.images.Source`; nothing else is needed to add one.
This face is what YAML names: ``_target_: vaelab.data.load_digits``.
"""

from vaelab.data.celeba import load_celeba
from vaelab.data.cifar10 import load_cifar10
from vaelab.data.datamodule import DataModule
from vaelab.data.digits import load_digits
from vaelab.data.dsprites import load_dsprites
from vaelab.data.folder import load_folder
from vaelab.data.hf import load_hf
from vaelab.data.idx import load_fashion_mnist, load_mnist
from vaelab.data.images import ImageSet, Source
from vaelab.data.npz import load_npz
from vaelab.data.omniglot import load_omniglot
from vaelab.data.shapes3d import load_shapes3d
from vaelab.data.splits import Splits, split
from vaelab.data.sprites import load_sprites
from vaelab.data.subsets import random_subset
from vaelab.data.svhn import load_svhn

__all__ = [
    "DataModule",
    "ImageSet",
    "Source",
    "Splits",
    "load_celeba",
    "load_cifar10",
    "load_digits",
    "load_dsprites",
    "load_fashion_mnist",
    "load_folder",
    "load_hf",
    "load_mnist",
    "load_npz",
    "load_omniglot",
    "load_shapes3d",
    "load_sprites",
    "load_svhn",
    "random_subset",
    "split",
]
