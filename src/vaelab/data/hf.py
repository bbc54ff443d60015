"""Data sets of the Hugging Face hub, or of a folder, by the library datasets: data.name=ylecun/mnist.

=============  ======================================================================================
name           a data set on the hub, or a folder with one: parquet files, or ``Dataset.save_to_disk``
image          the column of images, of the library's type ``Image``
label          the column of labels: ``ClassLabel``, whole numbers, or words (numbered in their order)
train          the split to train on, or the only one; ``validation`` and ``test``, if there are such,
               are the others. A split that is missing gets its share of the training images.
=============  ======================================================================================

No code of a data set is run: the library's versions before 4, which would do so, are refused. Of an image
the bytes are taken that lie in its row, or those of a file in the data set's own folder (of the hub: in the
folders of the library's downloads). Whatever else a row may name is not opened.
"""

import io
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch

from vaelab.data.decoded import Decoding, Encoded, decoded_once, printable, report
from vaelab.data.decoding import Unfit
from vaelab.data.grouping import PARTS, SHARES, by_part, check_shares, class_order, grouped
from vaelab.data.images import ImageSet, Source
from vaelab.errors import UserError, did_you_mean, one_line

__all__ = ["load_hf"]

log = logging.getLogger(__name__)

OLDEST = 4  # version of the library
SPLITS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "dev": "val", "test": "test"}


def load_hf(
    name: str | None,
    root: str,
    subset: str | None = None,
    image: str = "image",
    label: str | None = "label",
    size: int | None = None,
    channels: int = 3,
    background: str = "white",
    val_share: float = 0.1,
    test_share: float = 0.1,
) -> Source:
    """The images of a data set, (N, C, H, W) uint8, read when indexed; y: the label.

    They are decoded once, into ``root/hf``, as those of :func:`~vaelab.data.folder.load_folder`, and may be
    as odd. The library keeps its copy in ``root/hf/datasets`` and its downloads where ``HF_HOME`` says.

    Args:
        name: of the data set.
        root: where data sets are kept.
        subset: of a data set that has several (the library's "config").
        image, label: names of columns; label None for no labels.
        size, channels, background, val_share, test_share: as for a folder.

    Raises:
        UserError: the library is not installed or too old; it finds no such data set; no such column, or one
            of another type; no split to train on, or too few images; sizes that differ.
    """
    if name is None:
        raise UserError("data.name is not set: give a data set of the hub, or a folder, with data.name=...")
    settings = Decoding(size, channels, background)
    settings.check()
    check_shares(val_share, test_share)
    cache = Path(root).expanduser() / "hf"
    tables = _splits(name, _opened(name, subset, cache / "datasets"))
    for table in tables.values():
        _check_column(name, "image", image, table.features, ("Image",))
        if label is not None:
            _check_column(name, "label", label, table.features, ("ClassLabel", "Value"))

    encoded = _encoded(name, tables, image, cache)
    decoded = decoded_once(encoded, cache, name.strip("/").rpartition("/")[2], settings)
    left_out = [(encoded.names[row], kind, reason) for row, kind, reason in decoded.left_out]
    if said := report(name, len(decoded.rows), left_out, "images"):
        log.warning("%s", said)
    if not decoded.rows:
        raise UserError(f"data.name={name} has no image that can be used. {said}")

    classes, numbers = ((), None) if label is None else _labels(name, tables, label)
    y = None if numbers is None else torch.tensor(numbers)[decoded.x.index]
    places = grouped([encoded.names[row] for row in decoded.rows], val_share, test_share)
    needed = PARTS if val_share > 0 else ("train", "test")
    images = ImageSet(decoded.x, y)
    source = by_part(images, [place.part for place in places], needed, f"data.name={name}", SHARES)
    log.info("%s: %d images.", name, len(images))
    return source._replace(class_names=tuple(map(printable, classes)))


def _opened(name: str, subset: str | None, cache: Path) -> Mapping[str, Any]:
    """The tables of the data set, by the names of their splits."""
    try:
        import datasets
    except ImportError:
        needs = "data=hf reads data sets by the library datasets"
        raise UserError(f"{needs}: pip install 'vaelab[hf]'.") from None
    if int(datasets.__version__.split(".")[0]) < OLDEST:
        raise UserError(
            f"datasets {datasets.__version__} runs scripts of data sets; data=hf needs {OLDEST} or later: "
            "pip install 'vaelab[hf]'."
        )
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    folder = Path(name).expanduser()
    saved = any((folder / file).is_file() for file in ("dataset_dict.json", "state.json"))
    if not folder.is_dir() and (folder.exists() or folder.is_absolute()):
        raise UserError(f"data.name={name} is no folder. It must be one, or a data set of the hub.")
    try:
        found = (
            datasets.load_from_disk(str(folder))
            if saved
            else datasets.load_dataset(str(folder) if folder.is_dir() else name, subset, cache_dir=str(cache))
        )
    except Exception as error:  # whatever its readers and its network raise
        raise UserError(f"data.name={name} can't be read: {one_line(error)}") from None
    tables = found if isinstance(found, Mapping) else {"train": found}
    return {split: table.with_format(None) for split, table in tables.items()}


def _splits(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The tables by PARTS, or the only one under "" if its name is another."""
    parts = {SPLITS[split]: table for split, table in found.items() if split in SPLITS and len(table)}
    if "train" in parts:
        return {part: parts[part] for part in PARTS if part in parts}
    if len(found) == 1:
        return {"": next(iter(found.values()))}
    raise UserError(f"data.name={name} has no split 'train'; it has: {', '.join(map(printable, found))}.")


def _check_column(
    name: str, key: str, column: str, features: Mapping[str, Any], kinds: Sequence[str]
) -> None:
    none = ", or null for none" if key == "label" else ""
    if column not in features:
        raise UserError(
            f"data.{key}={column}: {name} has no such column. {did_you_mean(column, features)} "
            f"Set data.{key}{none}."
        )
    if type(features[column]).__name__ not in kinds:
        raise UserError(
            f"data.{key}={column}: the column of {name} is {features[column]}; it must be "
            f"{' or '.join(kinds)}. Set data.{key}{none}."
        )


def _encoded(name: str, tables: Mapping[str, Any], column: str, cache: Path) -> Encoded:
    """The images of all tables, one after the other; an image's name is its split and its row."""
    import datasets

    plain = {
        part: table.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        for part, table in tables.items()
    }
    places = [(part, row) for part, table in plain.items() for row in range(len(table))]
    inside = _places(name, cache)

    def read(number: int) -> BinaryIO:
        part, row = places[number]
        return _bytes(plain[part][row][column], inside)

    files = {part: [file["filename"] for file in table.cache_files] for part, table in tables.items()}
    identity = [name, column, {part: [*map(_state, names)] for part, names in files.items()}]
    names = [f"{part}/{row}" if part else f"{row}" for part, row in places]
    return Encoded(name, names, read, identity)


def _state(file: str) -> tuple[str, int, int]:
    status = os.stat(file)
    return file, status.st_size, status.st_mtime_ns


def _places(name: str, cache: Path) -> list[Path]:
    """The folders whose files images may name: the data set's own, or the library's downloads."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return [folder.resolve()]
    import datasets
    from huggingface_hub import constants

    found = (cache, Path(datasets.config.HF_CACHE_HOME), Path(constants.HF_HUB_CACHE))
    return [place.expanduser().resolve() for place in found]


def _bytes(value: Mapping[str, Any] | None, inside: Sequence[Path]) -> BinaryIO:
    """The bytes of an image as the library gives it: {"bytes": ..., "path": ...}, or None."""
    content, path = (value or {}).get("bytes"), (value or {}).get("path")
    if content:
        return io.BytesIO(content)
    if not path:
        raise Unfit("empty")
    file = Path(os.path.realpath(path))
    if not (file.is_file() and any(file.is_relative_to(place) for place in inside)):
        raise Unfit("a path that leaves the data set")
    return io.BytesIO(file.read_bytes())


def _labels(name: str, tables: Mapping[str, Any], column: str) -> tuple[Sequence[str], list[int]]:
    """The classes, if they have names, and the label of every row of all tables."""
    feature = next(iter(tables.values())).features[column]
    values = [value for table in tables.values() for value in table[column][:]]
    missing = sum(value is None for value in values)
    if missing:
        raise UserError(f"data.label={column}: {missing} rows of {name} have no label. Set data.label=null.")
    if type(feature).__name__ == "ClassLabel":
        return feature.names, values
    if all(isinstance(value, str) for value in values):
        classes = class_order(values)
        number = {label: n for n, label in enumerate(classes)}
        return classes, [number[value] for value in values]
    if all(isinstance(value, int) for value in values):
        return (), [int(value) for value in values]
    raise UserError(
        f"data.label={column}: the column of {name} is {feature}; labels must be whole numbers or words. "
        "Set data.label=null."
    )
