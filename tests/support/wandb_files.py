"""Read what a W&B run left on disk: `wandb leet inspect` prints a `.wandb` file as JSON, a line a record."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.util import get_core_path  # what the command starts; itself it would take a second

IMAGE_TYPES = {"image-file", "images/separated"}
VIDEO_TYPES = {"video-file", "videos"}


@dataclass
class WandbRun:
    """One run as the W&B server would know it after a sync.

    Keys are W&B's own: a `/` in `"val/kl/dim_00"` is part of the name, while nested dicts stay dicts.
    """

    path: Path  # the run's folder
    id: str = ""
    started: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    project: str = ""
    tags: list[str] = field(default_factory=list)
    notes: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    alerts: list[dict[str, str]] = field(default_factory=list)
    exit_code: int | None = None  # None: the run never finished


def read_run(path: Path) -> WandbRun:
    """Read one run from its folder. Call `wandb.teardown()` first if this process has written it."""
    [file] = path.glob("*.wandb")
    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json", "-run-file", str(file)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    run = WandbRun(path)
    for line in printed.splitlines():
        record = json.loads(line)
        content = record.get(record["type"])
        match record["type"]:
            case "run":
                run.id, run.name = content["run_id"], content.get("display_name", "")
                run.project, run.tags = content["project"], content.get("tags", [])
                run.group, run.job_type = content.get("run_group", ""), content.get("job_type", "")
                run.started, run.notes = content["start_time"], content.get("notes", "")
                run.config |= content["config"]["update"]
            case "config":
                run.config |= content["update"]
            case "summary":
                run.summary |= _nested(content["update"])
            case "history":
                run.history.append(_nested(content["item"]))
            case "alert":
                run.alerts.append(content)
            case "exit":
                run.exit_code = content.get("exit_code", 0)
    run.config.pop("_wandb", None)  # the SDK's own bookkeeping
    return run


def read_runs(folder: Path) -> list[WandbRun]:
    """Read every `offline-run-*` in `folder` (a shared `wandb` folder), the oldest first."""
    return sorted((read_run(path) for path in folder.glob("offline-run-*")), key=lambda run: run.started)


def media_paths(run: WandbRun) -> list[Path]:
    """Absolute paths of all image files that the history or the summary points to, without repeats."""
    entries = (value for row in [*run.history, run.summary] for value in _dicts_in(row))
    images = [entry for entry in entries if entry.get("_type") in IMAGE_TYPES]
    names = (name for entry in images for name in entry.get("filenames") or [entry["path"]])
    return [(run.path / "files" / name).resolve() for name in dict.fromkeys(names)]


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    """`{"picture.path": "a.png"}`, as leet prints it, becomes `{"picture": {"path": "a.png"}}`."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *parents, last = key.split(".")
        branch = nested
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = value
    return nested


def _dicts_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every dict inside `value`, itself included."""
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from _dicts_in(child)
