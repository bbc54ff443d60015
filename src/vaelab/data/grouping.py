"""Which split and which class an image file belongs to, by the folders in its name and by a hash of it."""

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import torch

from vaelab.data.images import ImageSet, Source
from vaelab.errors import UserError

__all__ = [
    "PARTS",
    "SHARES",
    "Place",
    "by_part",
    "check_shares",
    "class_order",
    "grouped",
    "part_by_hash",
]

PARTS = ("train", "val", "test")
FOLDERS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"} | {
    p: p for p in PARTS
}


SHARES = "Add images, or set larger shares data.val_share (0 for no validation) and data.test_share."


class Place(NamedTuple):
    """Of an image: one of PARTS, or None beside the folders that are splits; and its class folder, or ""."""

    part: str | None
    label: str


def grouped(names: Sequence[str], val_share: float, test_share: float) -> list[Place]:
    """The split and the class folder of each image, by its name from the data's folder on.

    Folders ``train``, ``val`` and ``test`` (also ``training``, ``valid``, ``validation``, ``testing``) are
    the splits if ``train`` is there with another of them or alone. A split without a folder gets its share of
    the training images, and all images are training images where no such folders are.

    >>> grouped(["train/cat/1.png", "test/cat/1.png", "1.png"], 0, 0.1)
    [Place(part='train', label='cat'), Place(part='test', label='cat'), Place(part=None, label='')]
    """
    folders = [name.split("/")[:-1] for name in names]
    tops = {parents[0].lower() for parents in folders if parents}
    present = {FOLDERS[top] for top in tops if top in FOLDERS}
    if "train" not in present or (len(present) == 1 and len(tops) > 1):
        return [
            Place(part_by_hash(name, val_share, test_share), parents[0] if parents else "")
            for name, parents in zip(names, folders, strict=True)
        ]
    shares = (0 if "val" in present else val_share), (0 if "test" in present else test_share)

    def place(name: str, parents: Sequence[str]) -> Place:
        part = FOLDERS.get(parents[0].lower()) if parents else None
        by_hash = part_by_hash(name, *shares) if part == "train" else part
        return Place(by_hash, parents[1] if len(parents) > 1 else "")

    return [place(name, parents) for name, parents in zip(names, folders, strict=True)]


def part_by_hash(name: str, val_share: float, test_share: float) -> str:
    """A split that depends on the name alone: u < test_share is test, the next val_share is val.

    u is the first 64 bits of the name's SHA-256 over 2^64, thus uniform over names.
    """
    if not (val_share or test_share):
        return "train"
    # macOS takes letters with accents apart
    content = unicodedata.normalize("NFC", name).encode("utf-8", "surrogateescape")
    u = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
    return "test" if u < test_share else "val" if u < test_share + val_share else "train"


def class_order(labels: Sequence[str]) -> list[str]:
    """The different class folders, in the order of their labels 0, 1, ...: numbers by size, then names.

    >>> class_order(["10", "cat", "9", "cat"])
    ['9', '10', 'cat']
    """
    return sorted(
        set(labels), key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
    )


def check_shares(val_share: float, test_share: float) -> None:
    """Refuse shares of the images that leave none to train or to test on.

    Raises:
        UserError: names the keys.
    """
    if not (0 <= val_share < 1 and 0 < test_share < 1 and val_share + test_share < 1):
        raise UserError(
            f"data.val_share={val_share} and data.test_share={test_share} must be shares with a sum below 1, "
            "and data.test_share above 0."
        )


def by_part(
    images: ImageSet, parts: Sequence[str | None], needed: Sequence[str], what: str, remedy: str
) -> Source:
    """The images of each split, one of PARTS; they are put into a random order later.

    Args:
        parts: the split of each image.
        needed: the splits that must have images.
        what: the images are, for messages.
        remedy: the end of the message.

    Raises:
        UserError: a split that is needed has none.
    """
    rows = {
        part: torch.tensor([n for n, found in enumerate(parts) if found == part]).long() for part in PARTS
    }
    if missing := [part for part in needed if not len(rows[part])]:
        raise UserError(
            f"The {len(images)} images of {what} are too few: none is for {' and '.join(missing)}. {remedy}"
        )
    train, val, test = (images.subset(rows[part]) for part in PARTS)
    return Source(train, test, val=val if len(val) else None)
