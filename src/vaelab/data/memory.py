"""Sizes of arrays, read from the headers of files and compared with the free memory before anything is read.

A compressed file of some megabytes may unpack to any size.
"""

import math
import os
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from vaelab.errors import UserError

__all__ = ["array_header", "check_size", "free_memory", "npz_headers"]


def free_memory() -> int:
    """Bytes that a new process may take without swapping, within the limits of its container."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = min(free, 1024 * int(fields["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):  # not Linux
        free //= 2
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        free = min(free, max(0, int(limit) - int(used)))
    except (OSError, ValueError):  # no control group, or one without a limit
        pass
    return free


def check_size(size: int, what: str, max_bytes: int | None = None) -> None:
    """Refuse to read ``size`` bytes if they are more than ``max_bytes``, by default half of the free memory.

    Args:
        what: the subject of the message, such as a file.

    Raises:
        UserError: they are more.
    """
    limit = free_memory() // 2 if max_bytes is None else max_bytes
    if size > limit:
        said = "half of the free memory" if max_bytes is None else "data.max_bytes"
        raise UserError(
            f"{what} would take {_bytes(size)} of memory, more than {said} ({_bytes(limit)}). If that is "
            f"meant, set data.max_bytes={size}."
        )


def _bytes(size: int) -> str:
    power = min(4, int(math.log(max(size, 1), 1000)))
    return f"{size / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


def npz_headers(file: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """The shape and the type of every array of an .npz file, by name, without its entries.

    Raises:
        zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError: the file is damaged.
    """
    headers = {}
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                with archive.open(member) as stream:
                    shape, _, dtype = array_header(stream)
                headers[member.removesuffix(".npy")] = shape, dtype
    return headers


def array_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """The shape of the .npy array that begins here, whether it is stored by columns, and its type.

    Raises:
        ValueError: no such array begins here.
    """
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"the version {version} of its header is unknown")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    header: tuple[tuple[int, ...], bool, np.dtype] = read(stream)
    return header
