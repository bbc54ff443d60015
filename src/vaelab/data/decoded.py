"""Encoded images, wherever they lie, decoded once by all cores into a file that is mapped."""

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
import torch

from vaelab.data.decoding import Unfit, decode, quiet_pillow
from vaelab.data.images import Selection
from vaelab.data.mapped import MappedImages, made_once, write_blocks
from vaelab.errors import UserError
from vaelab.runs.files import replacing

__all__ = ["Decoded", "Decoding", "Encoded", "decoded_once", "in_order", "printable", "report", "some"]

A = TypeVar("A")
B = TypeVar("B")

VERSION = 1  # of how a file becomes an array; another one reads the files again
GROUP = 8  # files that a thread decodes at a time
SHOWN = 3  # names of each kind of file that was left out


class Encoded(NamedTuple):
    """Encoded images, in an order."""

    place: str  # where they lie, for messages
    names: Sequence[str]  # of the images, for messages
    read: Callable[[int], Path | BinaryIO]  # the file of an image, by its number; may raise Unfit
    identity: Any  # plain types; where they differ, the images are decoded again


class Decoding(NamedTuple):
    """How an image is decoded: see :func:`~vaelab.data.decoding.decode`."""

    size: int | None
    channels: int = 3
    background: str = "white"

    def check(self) -> None:
        """Refuse settings that are not legal.

        Raises:
            UserError: names the key.
        """
        if self.size is not None and (type(self.size) is not int or self.size < 1):
            raise UserError(
                f"data.size={self.size}: must be a whole number >= 1, or null for images of one size."
            )
        if self.channels not in (1, 3):
            raise UserError(f"data.channels={self.channels}: must be 3 (colour) or 1 (grey).")
        if self.background not in ("white", "black"):
            raise UserError(f"data.background={self.background}: must be white or black.")


class Decoded(NamedTuple):
    """The images that could be decoded."""

    x: Selection  # (N, C, H, W) uint8, mapped
    rows: list[int]  # (N,)  their numbers among all
    left_out: list[tuple[int, str, str]]  # the others: number, kind, reason
    grey: bool  # the images have three channels that are all the same


class Written(NamedTuple):
    """What is known of the images in a file, beside the images."""

    shape: tuple[int, ...]  # (N, C, H, W), a row for each image, of zeros if it was left out
    left_out: list[tuple[int, str, str]]
    grey: bool


def decoded_once(encoded: Encoded, cache: Path, stem: str, settings: Decoding) -> Decoded:
    """The images of ``encoded``, written to an .npy file in ``cache`` by the first start.

    The file's name begins with ``stem`` and has a digest of the identity and of the settings.

    Raises:
        UserError: sizes that differ; an image that unpacks to more pixels than Pillow takes for safe; no
            room.
    """
    identity = json.dumps([VERSION, encoded.identity, settings])
    name = f"{stem[:40]}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    images, facts = cache / f"{name}.npy", cache / f"{name}.json"

    def make() -> None:
        written = _write(images, encoded, settings)
        with replacing(facts) as temporary:  # the last one: where it is, the images are whole
            temporary.write_text(json.dumps(written._asdict()), encoding="utf-8")

    made_once(facts, make, f"{images} (the decoded images of {encoded.place})")
    known = json.loads(facts.read_text(encoding="utf-8"))
    left_out = [(row, kind, reason) for row, kind, reason in known["left_out"]]
    bad = {row for row, _, _ in left_out}
    rows = [row for row in range(len(encoded.names)) if row not in bad]
    x = Selection(MappedImages(images, known["shape"][1:], torch.uint8), torch.tensor(rows).long())
    return Decoded(x, rows, left_out, known["grey"])


def _write(images: Path, encoded: Encoded, settings: Decoding) -> Written:
    """Decode all images into ``images``; every thread takes GROUP of them at a time."""
    count = len(encoded.names)

    def decoded(group: Sequence[int]) -> list[np.ndarray | Unfit]:
        return [_decode(encoded, number, settings) for number in group]

    groups = [range(start, min(start + GROUP, count)) for start in range(0, count, GROUP)]
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with quiet_pillow(), ThreadPoolExecutor(threads) as pool:
        rows = (row for group in in_order(pool, decoded, groups, 2 * threads) for row in group)
        early = []  # the rows up to the first image, which gives the shape of all
        for row in rows:
            early.append(row)
            if isinstance(row, np.ndarray):
                break
        first = early[-1]
        shape = first.shape if isinstance(first, np.ndarray) else (1, 1, 1)
        _check_room(images.parent, count * int(np.prod(shape)))
        left_out: list[tuple[int, str, str]] = []
        grey = settings.channels == 3

        def blocks() -> Iterator[np.ndarray]:
            nonlocal grey
            for number, row in enumerate(chain(early, rows)):
                if isinstance(row, Unfit):
                    left_out.append((number, row.kind, str(row)))
                    yield np.zeros((1, *shape), np.uint8)
                    continue
                if row.shape != shape:
                    sizes = [
                        f"{some([encoded.names[which]])} is {width}x{height}"
                        for which, (_, height, width) in ((len(early) - 1, shape), (number, row.shape))
                    ]
                    raise UserError(
                        f"The images of {encoded.place} differ in size: {', '.join(sizes)}. "
                        "Set data.size=64, or another size for all."
                    )
                grey = grey and bool((row == row[:1]).all())
                yield row[None]

        write_blocks(images, (count, *shape), blocks())
    return Written((count, *shape), left_out, grey)


def in_order(pool: Executor, function: Callable[[A], B], items: Iterable[A], ahead: int) -> Iterator[B]:
    """The results of ``function`` in order, at most ``ahead`` of them at once: ``map`` would hold all."""
    waiting: deque[Future[B]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _decode(encoded: Encoded, number: int, settings: Decoding) -> np.ndarray | Unfit:
    try:
        file = encoded.read(number)
        name = str(file) if isinstance(file, Path) else f"{encoded.names[number]} of {encoded.place}"
        return decode(file, name=name, **settings._asdict())
    except Unfit as unfit:
        return unfit


def _check_room(place: Path, size: int) -> None:
    free = shutil.disk_usage(place).free
    if size > free:
        raise UserError(
            f"The decoded images take {size / 1e9:.1f} GB, more than {place} has free ({free / 1e9:.1f} GB). "
            "Set data.root to a folder with room, or a smaller data.size."
        )


def report(place: object, used: int, left_out: Sequence[tuple[str, str, str]], what: str = "files") -> str:
    """One line: how many were left out and why, with the first names; empty if none was.

    Args:
        place: where they lie.
        used: the number of those that were not left out.
        left_out: (name, kind, reason) of each.
        what: they are.
    """
    if not left_out:
        return ""
    kinds: dict[str, list[str]] = {}
    for name, kind, reason in sorted(left_out):
        kinds.setdefault(kind, []).append(f"{name}: {reason}" if reason else name)
    by_number = sorted(kinds.items(), key=lambda item: -len(item[1]))
    listed = "; ".join(f"{len(names):,} {kind} ({some(names)})" for kind, names in by_number)
    return f"Left out {len(left_out):,} of {used + len(left_out):,} {what} in {place}: {listed}."


def some(names: Sequence[str], most: int = SHOWN) -> str:
    """The first names, as a terminal may show them: a file of a stranger may have any name."""
    shown = [printable(name) for name in names[:most]]
    return ", ".join([*shown, *(["..."] if len(names) > most else [])])


def printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)
