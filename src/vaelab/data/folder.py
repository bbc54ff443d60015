"""Your own images, from a folder of image files.

=================  ==================================================================================
DIR/a.png          any format that Pillow reads, at any depth; names that begin with a dot are left out
DIR/cat/a.png      a class folder: the labels are 0, 1, ... in the order of the folders' names
DIR/train/...      with ``test`` or ``val`` beside it: the splits, with or without class folders in them
=================  ==================================================================================

Without such folders, a hash of an image's name says which split it is in: no image changes its split when
others come or go. The images are decoded once, into a file that is mapped; another start reads that file.
"""

import hashlib
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from vaelab.data.decoding import Unfit, decode, quiet_pillow, suffixes
from vaelab.data.grouping import PARTS, class_order, grouped
from vaelab.data.images import ImageSet, Selection, Source
from vaelab.data.mapped import MappedImages, made_once, write_blocks
from vaelab.errors import UserError
from vaelab.runs.files import FoundFile, files_below, replacing

__all__ = ["load_folder"]

log = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")

VERSION = 1  # of how a file becomes an array; another one reads the files again
GROUP = 8  # files that a thread decodes at a time
SHOWN = 3  # names of each kind of file that was left out
NO_IMAGE, EMPTY, LINK, ELSEWHERE = (
    "no image by its name",
    "empty",
    "a link that leaves the folder, or to a folder",
    "outside of train, val and test",
)


class Decoded(NamedTuple):
    """What decoding a list of files has given, beside the images."""

    shape: tuple[int, ...]  # (N, C, H, W), a row for each file, of zeros if it was left out
    left_out: list[tuple[int, str, str]]  # the file's row, the kind, the reason
    grey: bool  # the images have three channels that are all the same


def load_folder(
    path: str | None,
    root: str,
    size: int | None = None,
    channels: int = 3,
    background: str = "white",
    val_share: float = 0.1,
    test_share: float = 0.1,
) -> Source:
    """The images below a folder, (N, C, H, W) uint8, read when indexed; y: the class folder.

    The decoded images lie in ``root/folder``, not beside the files: the folder may be read-only, or shared,
    and stays as it is. The file's name has a digest of the folder's path, of the names, sizes and times of
    its files and of the settings, so that a folder in which anything has changed is decoded again.

    Args:
        path: the folder.
        root: where data sets are kept.
        size: the short side is scaled to it and the middle square is kept; None for images of one size.
        channels: 3 for colours, 1 for grey.
        background: under transparent pixels: "white" or "black".
        val_share, test_share: of the images, without folders for them.

    Raises:
        UserError: no such folder; no image in it, or too few for the splits; sizes that differ; a file that
            unpacks to more pixels than Pillow takes for safe.
    """
    folder = _checked(path, size, channels, background, val_share, test_share)
    files, left_out = _candidates(folder)
    if not files:
        raise UserError(f"data.path={folder} has no image files. {_report(folder, 0, left_out)}".rstrip())
    settings = {"size": size, "channels": channels, "background": background}
    file, decoded = _decoded(folder, Path(root).expanduser() / "folder", files, settings)
    left_out += [(files[row].name, kind, reason) for row, kind, reason in decoded.left_out]
    bad = {row for row, _, _ in decoded.left_out}
    rows = [row for row in range(len(files)) if row not in bad]
    names = [files[row].name for row in rows]
    report = _report(folder, len(names), left_out)
    if not names:
        raise UserError(f"data.path={folder} has no image that can be used. {report}")
    x = Selection(MappedImages(file, decoded.shape[1:], torch.uint8), torch.tensor(rows))
    places = grouped(names, val_share, test_share)
    classes, y = _labels([place.label for place in places])
    source = _split(folder, ImageSet(x, y), [place.part for place in places], with_val=val_share > 0)
    source = source._replace(class_names=tuple(map(_printable, classes)))
    log.info("%s", _summary(folder, len(names), classes, decoded.grey))
    if report:
        log.warning("%s", report)
    return source


def _checked(
    path: str | None, size: int | None, channels: int, background: str, val_share: float, test_share: float
) -> Path:
    """The folder, once all settings are legal."""
    if path is None:
        raise UserError("data.path is not set: give your folder of images with data.path=/path/to/folder.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        wrong = "is a file; data=npz reads arrays" if folder.is_file() else "does not exist"
        raise UserError(f"data.path={folder} {wrong}. It must be a folder of images.")
    if size is not None and (type(size) is not int or size < 1):
        raise UserError(f"data.size={size}: must be a whole number >= 1, or null for images of one size.")
    if channels not in (1, 3):
        raise UserError(f"data.channels={channels}: must be 3 (colour) or 1 (grey).")
    if background not in ("white", "black"):
        raise UserError(f"data.background={background}: must be white or black.")
    if not (0 <= val_share < 1 and 0 < test_share < 1 and val_share + test_share < 1):
        raise UserError(
            f"data.val_share={val_share} and data.test_share={test_share} must be shares with a sum below 1, "
            "and data.test_share above 0."
        )
    return folder


def _candidates(folder: Path) -> tuple[list[FoundFile], list[tuple[str, str, str]]]:
    """The files that may be images, and those that are none: (name, kind, reason)."""
    try:
        files, links = files_below(folder)
    except OSError as error:
        raise UserError(f"{error.filename or folder} can't be read: {error.strerror}.") from None
    places = grouped([file.name for file in files], 0, 0)
    chosen: list[FoundFile] = []
    left_out = [(name, LINK, "") for name in links]
    for file, place in zip(files, places, strict=True):
        suffix = os.path.splitext(file.name)[1].lower()
        kind = (
            NO_IMAGE
            if suffix and suffix not in suffixes()
            else EMPTY
            if file.size == 0
            else ELSEWHERE
            if place.part is None
            else None
        )
        if kind is None:
            chosen.append(file)
        else:
            left_out.append((file.name, kind, ""))
    return chosen, left_out


def _decoded(
    folder: Path, cache: Path, files: Sequence[FoundFile], settings: dict[str, Any]
) -> tuple[Path, Decoded]:
    """The .npy file with a row for each file, written by the first start, and what else is known of them."""
    identity = json.dumps([VERSION, os.path.realpath(folder), settings, files])
    name = f"{folder.resolve().name[:40]}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    images, facts = cache / f"{name}.npy", cache / f"{name}.json"

    def make() -> None:
        decoded = _write(images, folder, files, settings)
        with replacing(facts) as temporary:  # the last one: where it is, the images are whole
            temporary.write_text(json.dumps(decoded._asdict()), encoding="utf-8")

    made_once(facts, make, f"{images} (the decoded images of {folder})")
    known = json.loads(facts.read_text(encoding="utf-8"))
    left_out = [(row, kind, reason) for row, kind, reason in known["left_out"]]
    return images, Decoded(tuple(known["shape"]), left_out, known["grey"])


def _write(images: Path, folder: Path, files: Sequence[FoundFile], settings: dict[str, Any]) -> Decoded:
    """Decode all files into ``images``; every thread takes GROUP files at a time."""

    def decoded(group: Sequence[FoundFile]) -> list[np.ndarray | Unfit]:
        return [_decode(folder / file.name, settings) for file in group]

    groups = [files[start : start + GROUP] for start in range(0, len(files), GROUP)]
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
        _check_room(images.parent, len(files) * int(np.prod(shape)))
        left_out: list[tuple[int, str, str]] = []
        grey = settings["channels"] == 3

        def blocks() -> Iterator[np.ndarray]:
            nonlocal grey
            for number, row in enumerate(chain(early, rows)):
                if isinstance(row, Unfit):
                    left_out.append((number, row.kind, str(row)))
                    yield np.zeros((1, *shape), np.uint8)
                    continue
                if row.shape != shape:
                    sizes = [
                        f"{_some([files[place].name])} is {width}x{height}"
                        for place, (_, height, width) in ((len(early) - 1, shape), (number, row.shape))
                    ]
                    raise UserError(
                        f"The images of {folder} differ in size: {', '.join(sizes)}. "
                        "Set data.size=64, or another size for all."
                    )
                grey = grey and bool((row == row[:1]).all())
                yield row[None]

        write_blocks(images, (len(files), *shape), blocks())
    return Decoded((len(files), *shape), left_out, grey)


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


def _decode(file: Path, settings: dict[str, Any]) -> np.ndarray | Unfit:
    try:
        return decode(file, **settings)
    except Unfit as unfit:
        return unfit


def _check_room(place: Path, size: int) -> None:
    free = shutil.disk_usage(place).free
    if size > free:
        raise UserError(
            f"The decoded images take {size / 1e9:.1f} GB, more than {place} has free ({free / 1e9:.1f} GB). "
            "Set data.root to a folder with room, or a smaller data.size."
        )


def _labels(folders: Sequence[str]) -> tuple[list[str], Tensor | None]:
    """The classes in order, and the label (N,) of each image; none without at least two class folders."""
    classes = class_order(folders)
    if len(classes) < 2:
        return [], None
    if "" in classes:
        log.warning(
            "No labels: %d images lie in no class folder, beside those in %s.",
            sum(not folder for folder in folders),
            _some([name for name in classes if name]),
        )
        return [], None
    number = {name: n for n, name in enumerate(classes)}
    return classes, torch.tensor([number[folder] for folder in folders])


def _split(folder: Path, images: ImageSet, parts: Sequence[str | None], with_val: bool) -> Source:
    """The images of each split, by name; the splits are put into a random order later."""
    rows = {
        part: torch.tensor([n for n, found in enumerate(parts) if found == part]).long() for part in PARTS
    }
    if missing := [part for part in PARTS if not len(rows[part]) and (part != "val" or with_val)]:
        raise UserError(
            f"The {len(images)} images of data.path={folder} are too few: none is for "
            f"{' and '.join(missing)}. Add images, or set larger shares data.val_share (0 for no validation) "
            "and data.test_share."
        )
    train, val, test = (images.subset(rows[part]) for part in PARTS)
    return Source(train, test, val=val if len(val) else None)


def _summary(folder: Path, count: int, classes: Sequence[str], grey: bool) -> str:
    text = f"{folder}: {count:,} images"
    if classes:
        text += f" in {len(classes)} classes, {_some([f'{n} {name}' for n, name in enumerate(classes)], 12)}"
    return f"{text}." + " All are grey: data.channels=1 has a third of the numbers." * grey


def _report(folder: Path, used: int, left_out: Sequence[tuple[str, str, str]]) -> str:
    """One line: how many files were left out and why, with the first names; empty if none was."""
    if not left_out:
        return ""
    kinds: dict[str, list[str]] = {}
    for name, kind, reason in sorted(left_out):
        kinds.setdefault(kind, []).append(f"{name}: {reason}" if reason else name)
    by_number = sorted(kinds.items(), key=lambda item: -len(item[1]))
    listed = "; ".join(f"{len(names):,} {kind} ({_some(names)})" for kind, names in by_number)
    return f"Left out {len(left_out):,} of {used + len(left_out):,} files in {folder}: {listed}."


def _some(names: Sequence[str], most: int = SHOWN) -> str:
    """The first names, as a terminal may show them: a file of a stranger may have any name."""
    shown = [_printable(name) for name in names[:most]]
    return ", ".join([*shown, *(["..."] if len(names) > most else [])])


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)
