"""CelebA: 202,599 aligned photos of faces, from a folder that you have.

"Deep Learning Face Attributes in the Wild" (Liu, Luo, Wang & Tang, 2015),
https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html

========================  ====================================================================
img_align_celeba/         the photos 000001.jpg, ..., of 178x218 pixels
list_eval_partition.txt   a line for each photo: its name, and 0 (train), 1 (val) or 2 (test)
list_attr_celeba.txt      optional: their number, the names of 40 attributes, and a line for each
                          photo: its name, and 1 or -1 for each attribute
========================  ====================================================================

The lists may lie beside the photos or in ``Eval`` and ``Anno``, the photos in ``Img``, as they are published.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from vaelab.data.decoded import Decoding, decoded_once, report, some
from vaelab.data.folder import LINK, encoded_files
from vaelab.data.grouping import PARTS, by_part
from vaelab.data.images import ImageSet, Source
from vaelab.errors import UserError, did_you_mean
from vaelab.runs.files import files_below

__all__ = ["load_celeba"]

log = logging.getLogger(__name__)

PHOTOS, PARTITION, ATTRIBUTES = "img_align_celeba", "list_eval_partition.txt", "list_attr_celeba.txt"
PLACES = {PHOTOS: "Img", PARTITION: "Eval", ATTRIBUTES: "Anno"}  # where they are published
ADVICE = f"It must have {PHOTOS}/ and {PARTITION}, from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html."


def load_celeba(path: str | None, root: str, size: int | None = 64, label: str | None = None) -> Source:
    """The photos in their published splits, (N, 3, size, size) uint8, read when indexed.

    They are decoded once, into ``root/celeba``, as those of :func:`~vaelab.data.folder.load_folder`. A folder
    may have some of the photos alone.

    Args:
        path: the folder.
        root: where data sets are kept.
        size: the middle square of 178x178 pixels is scaled to it; None for the whole photos.
        label: the attribute that y is: 1 with it, 0 without; None for no labels.

    Raises:
        UserError: no such folder, file or attribute; a line of a list is damaged; no photo to train or to
            test on.
    """
    if path is None:
        raise UserError(f"data.path is not set: give your folder of CelebA. {ADVICE}")
    settings = Decoding(size)
    settings.check()
    folder = Path(path).expanduser()
    photos = _place(folder, PHOTOS)
    try:
        partition = _partition(_place(folder, PARTITION))
        attribute = None if label is None else _attribute(_place(folder, ATTRIBUTES), label)
        found, links = files_below(photos)
    except OSError as error:
        raise UserError(f"{error.filename or folder} can't be read: {error.strerror}.") from None
    files = [file for file in found if _photo(file.name) in partition]
    cache = Path(root).expanduser() / "celeba"
    decoded = decoded_once(encoded_files(photos, files), cache, "celeba", settings)
    names = [_photo(files[row].name) for row in decoded.rows]

    left_out = [(files[row].name, kind, reason) for row, kind, reason in decoded.left_out]
    left_out += [
        (file.name, f"not in {PARTITION}", "") for file in found if _photo(file.name) not in partition
    ]
    left_out += [(name, LINK, "") for name in links]
    if said := report(photos, len(names), left_out):
        log.warning("%s", said)
    if len(names) < len(partition):
        log.warning("%s has %d of the %d photos in %s.", photos, len(names), len(partition), PARTITION)

    y = None if attribute is None else torch.tensor([_value(attribute, name) for name in names])
    parts = [partition[name] for name in names]
    source = by_part(ImageSet(decoded.x, y), parts, ("train", "test"), str(photos), ADVICE)
    return source if label is None else source._replace(class_names=(f"not {label}", label))


def _place(folder: Path, name: str) -> Path:
    """The file or folder ``name`` of CelebA."""
    for place in (folder / name, folder / PLACES[name] / name):
        if place.is_dir() if name == PHOTOS else place.is_file():
            return place
    raise UserError(f"data.path={folder} has no {name}. {ADVICE}")


def _photo(name: str) -> str:
    """The name of a photo without its folders."""
    return name.rpartition("/")[2]


def _partition(file: Path) -> dict[str, str]:
    """The split of each photo."""
    return {name: PARTS[int(values[0])] for name, values in _lines(file, ("0", "1", "2"), 1)}


def _attribute(file: Path, label: str) -> dict[str, int]:
    """1 or 0 for each photo, as it has the attribute ``label`` or not."""
    with file.open(encoding="utf-8", errors="replace") as stream:
        stream.readline()
        names = stream.readline().split()
    if label not in names:
        raise UserError(
            f"data.label={label}: {file.name} has no such attribute. {did_you_mean(label, names)}"
        )
    column = names.index(label)
    return {
        name: int(values[column] == "1") for name, values in _lines(file, ("-1", "1"), len(names), header=2)
    }


def _value(attribute: Mapping[str, int], name: str) -> int:
    if name not in attribute:
        raise UserError(f"{ATTRIBUTES} has no line for {some([name])}, which is in {PARTITION}.")
    return attribute[name]


def _lines(
    file: Path, allowed: tuple[str, ...], width: int, header: int = 0
) -> Iterator[tuple[str, list[str]]]:
    """The name and the values of each line after the first ``header`` ones."""
    with file.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            name, *values = line.split() or [""]
            if number <= header or not name:
                continue
            if len(values) != width or not set(values) <= set(allowed):
                raise UserError(
                    f"Line {number} of {file} is damaged: it must be a name and {width} times "
                    f"{' or '.join(allowed)}. Get it again."
                )
            yield name, values
