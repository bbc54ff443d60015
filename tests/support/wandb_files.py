"""Read what an offline W&B run left on disk, without the `wandb` command and without a server.

A `.wandb` file is a LevelDB log of protobuf records: a 7-byte file header, then blocks of 32 KiB. Each
chunk in a block has a 7-byte header (checksum, length, kind), and a record is one whole chunk or a
first, some middle and a last one. W&B has no public reader, so that everything that depends on the
format lives in this one module; the tests compare it with `wandb leet inspect`.
"""

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # made while it is imported

HEADER = 7  # bytes; the file and every chunk begin with so many
BLOCK = 32 * 1024
FULL, LAST = 1, 4  # the kinds of chunk that complete a record (2 and 3 are "first" and "middle")
IMAGE_TYPES = {"image-file", "images/separated"}
VIDEO_TYPES = {"video-file", "videos"}


@dataclass
class WandbRun:
    """One offline run, as the W&B server would come to know it after a sync.

    Keys are W&B's own: a `/` in `"val/kl/dim_00"` is part of the name, while nested dicts stay dicts.
    """

    path: Path  # the offline-run-* folder
    id: str = ""
    started: float = 0.0  # seconds since the epoch
    name: str = ""
    group: str = ""
    job_type: str = ""
    project: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)  # relative to `path / "files"`
    artifacts: list[dict[str, Any]] = field(default_factory=list)  # name, type, aliases, metadata, files
    alerts: list[dict[str, str]] = field(default_factory=list)  # title, text, level
    exit_code: int | None = None  # None: the run never finished


def read_run(path: Path) -> WandbRun:
    """Read one run from its `offline-run-*` folder or from the `.wandb` file in it.

    A file cut short is read as far as it is whole. So a killed run leaves it, and for a few milliseconds
    so does `finish()`: call `wandb.teardown()` before reading what this process has written.
    """
    [file] = [path] if path.is_file() else path.glob("*.wandb")
    run = WandbRun(path=file.parent)
    for message in _messages(file.read_bytes()):
        _apply(run, Record.FromString(message))
    run.config.pop("_wandb", None)  # the SDK's own bookkeeping
    return run


def read_runs(folder: Path) -> list[WandbRun]:
    """Read every `offline-run-*` in `folder` (a shared `wandb` folder), the oldest first."""
    runs = [read_run(path) for path in folder.glob("offline-run-*")]
    return sorted(runs, key=lambda run: run.started)  # the names of the folders know only the second


def media_paths(run: WandbRun) -> list[Path]:
    """Absolute paths of all image files that the history or the summary points to, without repeats."""
    entries = (value for row in [*run.history, run.summary] for value in _dicts_in(row))
    names = (name for entry in entries if entry.get("_type") in IMAGE_TYPES for name in _filenames(entry))
    return [(run.path / "files" / name).resolve() for name in dict.fromkeys(names)]


def _messages(data: bytes) -> Iterator[bytes]:
    """Put the chunks of a LevelDB log together to whole records."""
    position, message = HEADER, b""
    while position + HEADER <= len(data):
        room = BLOCK - position % BLOCK
        if room < HEADER:  # too little for another chunk: the rest of the block is padding
            position += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        begin, position = position + HEADER, position + HEADER + length
        if kind == 0 or position > len(data):  # never written, or cut off
            return
        message += data[begin:position]
        if kind in (FULL, LAST):
            yield message
            message = b""


def _apply(run: WandbRun, record: Record) -> None:
    """Let one record change what is known of the run."""
    kind = record.WhichOneof("record_type")
    if kind == "run":
        _describe(run, record.run)
    elif kind in ("config", "summary"):
        change = getattr(record, kind)
        _update(getattr(run, kind), change.update)
        _remove(getattr(run, kind), change.remove)
    elif kind == "history":
        run.history.append(_update({}, record.history.item))
    elif kind == "files":
        run.files += [file.path for file in record.files.files]
    elif kind == "artifact":
        run.artifacts.append(_artifact(record.artifact))
    elif kind == "alert":
        run.alerts.append({key: getattr(record.alert, key) for key in ("title", "text", "level")})
    elif kind == "exit":
        run.exit_code = record.exit.exit_code


def _describe(run: WandbRun, message: Any) -> None:
    run.id, run.name = message.run_id, message.display_name
    run.group, run.job_type, run.project = message.run_group, message.job_type, message.project
    run.tags = list(message.tags)
    run.started = message.start_time.ToNanoseconds() / 1e9
    _update(run.config, message.config.update)
    _update(run.summary, message.summary.update)


def _artifact(message: Any) -> dict[str, Any]:
    return {
        "name": message.name,
        "type": message.type,
        "aliases": list(message.aliases),
        "metadata": json.loads(message.metadata or "{}"),
        "files": [entry.path for entry in message.manifest.contents],
    }


def _update(target: dict[str, Any], items: Iterable[Any]) -> dict[str, Any]:
    """Write items such as `nested_key: ["a", "b"], value_json: "1"` into a nested dict."""
    for item in items:
        *parents, last = item.nested_key or [item.key]
        branch = target
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = json.loads(item.value_json)
    return target


def _remove(target: dict[str, Any], items: Iterable[Any]) -> None:
    for item in items:
        *parents, last = item.nested_key or [item.key]
        branch = target
        for parent in parents:
            branch = branch.get(parent, {})
        branch.pop(last, None)


def _dicts_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every dict inside `value`, itself included."""
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from _dicts_in(child)
    elif isinstance(value, list):
        for child in value:
            yield from _dicts_in(child)


def _filenames(entry: dict[str, Any]) -> list[str]:
    """One image has a `path`; a list of images has `filenames`."""
    return entry.get("filenames") or [entry["path"]]
