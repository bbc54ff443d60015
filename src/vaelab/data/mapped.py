"""Sets too large for memory: images in an uncompressed file, mapped so that a batch reads what it holds.

A single image cannot be read from the published files of such sets: an .npz is one compressed stream, and
HDF5's default chunks cut thousands of images into tiles (see :mod:`vaelab.data.shapes3d`). Their images are
therefore written to an uncompressed file once, which is kept.
"""

import hashlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaelab.errors import UserError
from vaelab.runs.files import remove_temporary, replacing

__all__ = ["MappedImages", "made_once", "write_blocks", "written_out"]


class MappedImages:
    """The images of an .npy file of bytes (N, ...) as a lazy image set: (B,) gives (B, C, H, W).

    As uint8 the file's rows are the images; as bool, eight pixels lie in a byte (``numpy.packbits``). The
    file is mapped at every access, in a fraction of a millisecond, so that no file stays open and a pickled
    copy for another process has no images.
    """

    def __init__(self, file: Path, image_shape: Sequence[int], dtype: torch.dtype) -> None:
        self.file = file
        self.shape = (len(self._rows()), *image_shape)
        self.dtype = dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor) -> Tensor:
        rows = self._rows()[index.numpy()]
        if self.dtype == torch.bool:
            rows = np.unpackbits(rows, axis=1, count=math.prod(self.shape[1:])).view(np.bool_)
        return torch.from_numpy(rows).view(len(index), *self.shape[1:])

    def _rows(self) -> np.ndarray:
        return np.load(self.file, mmap_mode="r")


def written_out(
    source: Path, folder: Path, shape: tuple[int, ...], blocks: Callable[[], Iterator[np.ndarray]]
) -> Path:
    """An .npy file in ``folder`` with the bytes that ``blocks()`` gives, block by block, made once.

    Its name has a digest of the path, size and time of ``source``, so that another file is never mistaken for
    it. If several processes need it, one writes and the others wait. A partial file never exists under that
    name.

    Args:
        source: the file that the blocks are read from.
        folder: where to write.
        shape: of all blocks together, (N, ...).
        blocks: uint8 arrays (B, ...) in order, B adding up to N.

    Raises:
        UserError: if ``folder`` cannot be written to, or is too small.
    """
    status = source.stat()
    identity = f"{source.resolve()} {status.st_size} {status.st_mtime_ns}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    target = folder / f"{source.stem}-{digest}.npy"
    size = math.prod(shape) / 1e9
    what = f"{target} ({size:.1f} GB, the images of {source.name} uncompressed)"
    made_once(target, lambda: write_blocks(target, shape, blocks()), what)
    return target


def made_once(target: Path, make: Callable[[], None], what: str) -> None:
    """Call ``make`` to write the file ``target``, unless it is there.

    If several processes need it, one writes and the others wait.

    Raises:
        UserError: beginning with ``what``, if the folder cannot be written to, or is too small.
    """
    from filelock import FileLock

    if target.exists():  # before the lock, since the folder may be read-only
        return
    folder = target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".written_out.lock"):
            if not target.exists():
                remove_temporary(folder)  # of processes that were killed while they wrote
                make()
    except OSError as error:
        raise UserError(
            f"{what} cannot be written: {error.strerror or error}. Set data.root to a folder with room."
        ) from None


def write_blocks(target: Path, shape: tuple[int, ...], blocks: Iterator[np.ndarray]) -> None:
    """Write uint8 blocks (B, ...) as one .npy file of this shape, whole or not at all, with a progress bar.

    It is written by plain calls: on a full disk they raise an error; writing to a map would kill the process.
    """
    from tqdm import tqdm

    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    bar = tqdm(total=shape[0], desc=f"writing {target.name}", unit=" images", disable=not sys.stderr.isatty())
    with replacing(target) as temporary, temporary.open("wb") as stream, bar:
        np.lib.format.write_array_header_1_0(stream, header)
        for block in blocks:
            stream.write(np.ascontiguousarray(block).data)
            bar.update(len(block))
