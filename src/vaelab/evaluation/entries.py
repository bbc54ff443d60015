"""The entry of an evaluation in a record: metrics, protocol, settings and weights."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vaelab.evaluation.trained_run import NotApplicable, TrainedRun
from vaelab.runs.record import named_scalars, plain
from vaelab.runs.wandb_run import start_run

__all__ = ["add", "describe", "is_measured", "measure", "send_to_wandb"]

PREFIX = "eval/"


def is_measured(record: Mapping[str, Any], name: str, settings: Any) -> bool:
    """Whether the record contains this evaluation with these settings and its present weights."""
    entry = (record.get("evaluation") or {}).get(name)
    return entry is not None and (entry["settings"], entry["weights"]) == (settings, record["weights"])


def measure(
    evaluation: Callable[[TrainedRun], Mapping[str, Any]], run: TrainedRun, settings: Any
) -> dict[str, Any]:
    """Call an evaluation and return its entry: metrics and protocol, or why it was skipped; its duration."""
    clock = time.perf_counter()
    try:
        result = evaluation(run)
        entry = {"metrics": plain(result["metrics"]), "protocol": plain(result["protocol"])}
    except NotApplicable as reason:
        entry = {"metrics": {}, "skipped": str(reason)}
    return {
        **entry,
        "settings": settings,
        "weights": run.record["weights"],
        "seconds": round(time.perf_counter() - clock, 3),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def add(record: dict[str, Any], name: str, entry: dict[str, Any]) -> None:
    """Add an entry to the record, replacing an earlier one of the same name."""
    entries = record.setdefault("evaluation", {})
    for metric in entries.get(name, {}).get("metrics", {}):
        record["metrics"].pop(PREFIX + metric, None)
    entries[name] = entry
    record["metrics"] |= {PREFIX + metric: value for metric, value in entry["metrics"].items()}


def describe(entry: Mapping[str, Any]) -> str:
    """How many numbers there are and how long they took, or why the evaluation was skipped."""
    if "skipped" in entry:
        return f"not for this run: {entry['skipped']}"
    number = len(entry["metrics"])
    return f"{number} number{'' if number == 1 else 's'} ({entry['seconds']:.1f} s)"


def send_to_wandb(record: Mapping[str, Any], outputs: Path) -> None:
    """Add the evaluations' metrics to the summary of the run's W&B run, if it has one.

    W&B writes below ``outputs``, the user's own; the folder that the record names is not followed.
    Offline, this writes a further folder of the W&B run, which ``wandb sync`` merges with the others.
    """
    wandb = record.get("wandb")
    if not wandb or wandb["mode"] not in ("offline", "online"):
        return
    logger = record["config"].get("logger") or {}
    run = start_run(
        outputs,
        wandb["mode"],
        run_id=wandb["id"],
        project=wandb["project"],
        entity=wandb.get("entity"),
        name=record["name"],
        group=record["group"],
        **{key: logger[key] for key in ("init_timeout", "finish_timeout") if key in logger},
    )
    metrics = {name: value for name, value in record["metrics"].items() if name.startswith(PREFIX)}
    try:
        run.update_summary(named_scalars(metrics))
    finally:
        run.finish()
