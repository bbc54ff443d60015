"""CIFAR-10: small colour photos of ten classes, from the binary version of its archive.

"Learning Multiple Layers of Features from Tiny Images" (Krizhevsky, 2009),
https://www.cs.toronto.edu/~kriz/cifar.html

Of an image the file has 3,073 bytes: its class, then 32x32 bytes of red, of green and of blue, row by row.
The python version of the archive is pickled, and is not read.
"""

import tarfile
import zlib
from pathlib import Path

import numpy as np
import torch

from vaelab.data.download import Published, find_or_fetch
from vaelab.data.images import ImageSet, Source
from vaelab.data.memory import check_size
from vaelab.errors import UserError, first_line

__all__ = ["CIFAR10", "load_cifar10"]

# The checksum is the one that its author publishes beside the file.
CIFAR10 = Published(
    folder="cifar10",
    checksums={"cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530"},
    mirrors=("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"),
    advice="It is published at https://www.cs.toronto.edu/~kriz/cifar.html, as the binary version.",
)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
INSIDE = "cifar-10-batches-bin"
TRAIN = tuple(f"{INSIDE}/data_batch_{number}.bin" for number in range(1, 6))
TEST = f"{INSIDE}/test_batch.bin"
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32  # bytes


def load_cifar10(root: str, path: str | None = None, download: bool = True) -> Source:
    """50,000 and 10,000 photos, (N, 3, 32, 32) uint8; y: the class.

    ``path`` is the archive; without it, it is looked for in ``root/cifar10`` and ``root``, and downloaded
    into the former (170 MB). Its parts are read by their names, and nothing is unpacked to the disk.

    Raises:
        UserError: the archive does not exist, is damaged, or is another one.
    """
    (file,) = find_or_fetch(CIFAR10, root, download, path)
    parts = _parts(file)
    train = np.concatenate([parts[name] for name in TRAIN])
    return Source(_image_set(train), _image_set(parts[TEST]), class_names=CLASSES, files=(file,))


def _parts(file: Path) -> dict[str, np.ndarray]:
    """The images of the archive, (N, RECORD) uint8, by the names of its parts."""
    found: dict[str, np.ndarray] = {}
    try:
        with tarfile.open(file) as archive:
            for member in archive:  # in the archive's order: going back would unpack it again
                if member.name in (*TRAIN, TEST) and member.isreg():
                    found[member.name] = _records(file, archive, member)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        reason = first_line(error).rstrip(":.")
        raise UserError(f"{file} is not a .tar.gz archive, or is damaged: {reason}. Get it again.") from None
    missing = [name for name in (*TRAIN, TEST) if name not in found]
    if missing:
        raise UserError(
            f"{file} is not the binary version of CIFAR-10: it has no {', '.join(missing)}. {CIFAR10.advice}"
        )
    return found


def _records(file: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> np.ndarray:
    check_size(3 * len(TRAIN) * member.size, f"{member.name} of {file}")
    stream = archive.extractfile(member)
    assert stream is not None  # it is a regular file
    content = np.frombuffer(stream.read(), np.uint8)
    if not len(content) or len(content) % RECORD:
        raise UserError(
            f"{member.name} of {file} is damaged: it has {len(content)} bytes, no multiple of {RECORD}. "
            "Get it again."
        )
    records = content.reshape(-1, RECORD)
    if records[:, 0].max() >= len(CLASSES):
        raise UserError(
            f"{member.name} of {file} is damaged: it has the class {records[:, 0].max()}, and CIFAR-10's are "
            f"0 to {len(CLASSES) - 1}. Get it again."
        )
    return records


def _image_set(records: np.ndarray) -> ImageSet:
    x = torch.from_numpy(records[:, 1:].copy()).view(-1, *SHAPE)
    return ImageSet(x, torch.from_numpy(records[:, 0].astype(np.int64)))
