"""Your own images, from a folder of image files.

=================  ==================================================================================
DIR/a.png          any format that Pillow reads, at any depth; names that begin with a dot are left out
DIR/cat/a.png      a class folder: the labels are 0, 1, ... in the order of the folders' names
DIR/train/...      with ``test`` or ``val`` beside it: the splits, with or without class folders in them
=================  ==================================================================================

Without such folders, a hash of an image's name says which split it is in: no image changes its split when
others come or go. The images are decoded once, into a file that is mapped; another start reads that file.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vaelab.data.decoded import Decoding, Encoded, decoded_once, printable, report, some
from vaelab.data.decoding import suffixes
from vaelab.data.grouping import PARTS, SHARES, by_part, check_shares, class_order, grouped
from vaelab.data.images import ImageSet, Source
from vaelab.errors import UserError
from vaelab.runs.files import FoundFile, files_below

__all__ = ["encoded_files", "load_folder"]

log = logging.getLogger(__name__)

NO_IMAGE, EMPTY, LINK, ELSEWHERE = (
    "no image by its name",
    "empty",
    "a link that leaves the folder, or to a folder",
    "outside of train, val and test",
)


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
    folder = _checked(path, val_share, test_share)
    settings = Decoding(size, channels, background)
    settings.check()
    files, left_out = _candidates(folder)
    if not files:
        raise UserError(f"data.path={folder} has no image files. {report(folder, 0, left_out)}".rstrip())
    cache = Path(root).expanduser() / "folder"
    decoded = decoded_once(encoded_files(folder, files), cache, folder.resolve().name, settings)
    left_out += [(files[row].name, kind, reason) for row, kind, reason in decoded.left_out]
    names = [files[row].name for row in decoded.rows]
    said = report(folder, len(names), left_out)
    if not names:
        raise UserError(f"data.path={folder} has no image that can be used. {said}")
    places = grouped(names, val_share, test_share)
    classes, y = _labels([place.label for place in places])
    images = ImageSet(decoded.x, y)
    needed = PARTS if val_share > 0 else ("train", "test")
    source = by_part(images, [place.part for place in places], needed, f"data.path={folder}", SHARES)
    source = source._replace(class_names=tuple(map(printable, classes)))
    log.info("%s", _summary(folder, len(names), classes, decoded.grey))
    if said:
        log.warning("%s", said)
    return source


def encoded_files(folder: Path, files: Sequence[FoundFile]) -> Encoded:
    """The images of these files below ``folder``; where one has changed, they are other images."""
    names = [file.name for file in files]
    identity = [os.path.realpath(folder), files]
    return Encoded(str(folder), names, lambda number: folder / names[number], identity)


def _checked(path: str | None, val_share: float, test_share: float) -> Path:
    """The folder, once it and the shares are legal."""
    if path is None:
        raise UserError("data.path is not set: give your folder of images with data.path=/path/to/folder.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        wrong = "is a file; data=npz reads arrays" if folder.is_file() else "does not exist"
        raise UserError(f"data.path={folder} {wrong}. It must be a folder of images.")
    check_shares(val_share, test_share)
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


def _labels(folders: Sequence[str]) -> tuple[list[str], Tensor | None]:
    """The classes in order, and the label (N,) of each image; none without at least two class folders."""
    classes = class_order(folders)
    if len(classes) < 2:
        return [], None
    if "" in classes:
        log.warning(
            "No labels: %d images lie in no class folder, beside those in %s.",
            sum(not folder for folder in folders),
            some([name for name in classes if name]),
        )
        return [], None
    number = {name: n for n, name in enumerate(classes)}
    return classes, torch.tensor([number[folder] for folder in folders])


def _summary(folder: Path, count: int, classes: Sequence[str], grey: bool) -> str:
    text = f"{folder}: {count:,} images"
    if classes:
        text += f" in {len(classes)} classes, {some([f'{n} {name}' for n, name in enumerate(classes)], 12)}"
    return f"{text}." + " All are grey: data.channels=1 has a third of the numbers." * grey
