"""Evaluate runs: what is new is measured, written into the record at once, and sent to the run's W&B run."""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from vaelab.errors import UserError
from vaelab.evaluation.disentanglement_scores import udr_of_runs
from vaelab.evaluation.trained_run import NotApplicable, TrainedRun
from vaelab.reports import compare_sweep
from vaelab.reports.records import as_run
from vaelab.reports.table import configuration
from vaelab.runs.lock import claim
from vaelab.runs.naming import MULTIRUN
from vaelab.runs.record import finite, plain, read_record, write_record
from vaelab.runs.resume import FINISHED
from vaelab.training.assembly import build

log = logging.getLogger(__name__)

PREFIX = "eval/"
UDR = "udr"
ERROR = "_se"  # the ending of a metric that is another's standard error


def evaluate_all(folders: Sequence[Path], cfg: DictConfig) -> bool:
    """Evaluate the runs in ``folders``, one after the other, and print what was found.

    A run that fails does not keep the others from their turn. False if any failed.
    """
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    evaluations = {
        name: build(f"eval.{name}", node) for name, node in cfg.eval.items() if node is not None
    }  # all of them, so that a mistake shows before the first is run
    device = device_of(cfg.device)
    succeeded = True
    for folder in folders:
        try:
            succeeded &= evaluate_run(folder, evaluations, cfg, device)
        except UserError as error:
            print(f"{folder}: {error}", flush=True)
            succeeded = False
    if cfg.udr is not None:
        rank_seeds(folders, cfg, device)
    for sweep in dict.fromkeys(folder.parent for folder in folders if (folder.parent / MULTIRUN).is_file()):
        compare_sweep(sweep)
        print(f"Report: {sweep / 'report' / 'report.html'}", flush=True)
    return succeeded


def rank_seeds(folders: Sequence[Path], cfg: DictConfig, device: torch.device) -> None:
    """Add UDR to the records of runs that differ in their seed alone; others stay as they are."""
    settings = plain(OmegaConf.to_container(cfg.udr))
    groups: dict[str, list[TrainedRun]] = {}
    for folder in folders:
        with suppress(OSError, ValueError):
            record = read_record(folder)
            if record["status"] == FINISHED:
                run = TrainedRun(folder, record, Path(cfg.paths.outputs) / "cache", str(device))
                groups.setdefault(configuration(as_run(record, folder)), []).append(run)
    for runs in groups.values():
        seeds = settings | {"seeds": [run.record["seed"] for run in runs]}
        if len(runs) < 2 or (not cfg.force and all(is_there(run.record, UDR, seeds) for run in runs)):
            continue
        clock = time.perf_counter()
        try:
            found = udr_of_runs(runs, **settings)
        except (NotApplicable, UserError) as reason:
            log.info("UDR: not for %s: %s", runs[0].folder.parent, reason)
            continue
        each = {name: values for name, values in found["metrics"].items() if isinstance(values, list)}
        for place, run in enumerate(runs):
            entry = {
                "metrics": {name: values[place] for name, values in each.items()},
                "protocol": plain(found["protocol"]),
                "settings": seeds,
                "weights": run.record["weights"],
                "seconds": round(time.perf_counter() - clock, 3),
                "date": now(),
            }
            keep(run.folder, UDR, entry, cfg.log)
            print(f"{run.folder.name}: {in_words(entry)}", flush=True)


def keep(folder: Path, name: str, entry: dict[str, Any], to_wandb: bool) -> None:
    """Add an evaluation to the record as it is now, while nobody else writes it, and to the W&B run."""
    lock = claim(folder)
    if lock is None:
        log.warning("%s: another process is at work in it; %s is not kept", folder, name)
        return
    with lock:
        record = read_record(folder)
        add(record, name, entry)
        write_record(folder, record)
        if to_wandb:
            send(record)


def device_of(name: str) -> torch.device:
    """The device of that name; ``auto``: a GPU if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name} can't be used here: {str(error).splitlines()[0]}") from error
    return device


def evaluate_run(folder: Path, evaluations: Mapping[str, Any], cfg: DictConfig, device: torch.device) -> bool:
    """Evaluate one run; False if any evaluation failed.

    Raises:
        UserError: the folder holds no finished run, or somebody is at work in it.
    """
    lock = claim(folder)
    if lock is None:
        raise UserError("another process is at work in it.")
    with lock:
        try:
            record = read_record(folder)
        except (OSError, ValueError) as error:
            raise UserError(f"its record can't be read: {error}") from error
        if record["status"] != FINISHED:
            raise UserError(f"not evaluated: its status is {record['status']}.")
        print(f"{folder.name}: {record['name']}", flush=True)
        run = TrainedRun(folder, record, Path(cfg.paths.outputs) / "cache", str(device))
        failed, new = [], []
        for name, evaluation in evaluations.items():
            settings = plain(OmegaConf.to_container(cfg.eval[name], resolve=True))
            if not cfg.force and is_there(record, name, settings):
                print(f"  {name}: measured before", flush=True)
                continue
            try:
                entry = measured(run, evaluation) | {"settings": settings, "weights": record["weights"]}
            except UserError as error:
                print(f"  {name}: {error}", flush=True)
                failed.append(name)
                continue
            except Exception as error:
                log.exception("%s: the evaluation %s failed", folder, name)
                print(f"  {name}: failed ({type(error).__name__}: {error})", flush=True)
                failed.append(name)
                continue
            add(record, name, entry)
            write_record(folder, record)  # at once: the next one may be interrupted
            new.append(name)
            print(f"  {name}: {in_words(entry)}", flush=True)
        if new and cfg.log:
            send(record)
    return not failed


def is_there(record: Mapping[str, Any], name: str, settings: Any) -> bool:
    """Whether the evaluation has been done with these settings, of these weights."""
    entry = (record.get("evaluation") or {}).get(name)
    return entry is not None and (entry["settings"], entry["weights"]) == (settings, record["weights"])


def measured(run: TrainedRun, evaluation: Any) -> dict[str, Any]:
    """What the record keeps of an evaluation: metrics and protocol, or why there are none; when, how long."""
    clock = time.perf_counter()
    try:
        found = evaluation(run)
        entry = {"metrics": plain(found["metrics"]), "protocol": plain(found["protocol"])}
    except NotApplicable as reason:
        entry = {"metrics": {}, "skipped": str(reason)}
    seconds = round(time.perf_counter() - clock, 3)
    return {**entry, "seconds": seconds, "date": now()}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def add(record: dict[str, Any], name: str, entry: dict[str, Any]) -> None:
    """Put an evaluation into the record, in place of an earlier one of the same name."""
    evaluation = record.setdefault("evaluation", {})
    for metric in evaluation.get(name, {}).get("metrics", {}):
        record["metrics"].pop(PREFIX + metric, None)
    evaluation[name] = entry
    record["metrics"] |= {PREFIX + metric: value for metric, value in entry["metrics"].items()}


def in_words(entry: Mapping[str, Any]) -> str:
    """The scalar metrics in a line, each with its standard error, or why there are none."""
    if "skipped" in entry:
        return f"not for this run: {entry['skipped']}"
    numbers = {name: finite(value) for name, value in entry["metrics"].items() if not isinstance(value, list)}
    parts = []
    for name, number in numbers.items():
        if name.endswith(ERROR) and name.removesuffix(ERROR) in numbers:
            continue
        error = numbers.get(name + ERROR)
        margin = "" if error is None else f" ± {error:.2g}"
        parts.append(f"{name} undefined" if number is None else f"{name} {number:.4g}{margin}")
    return f"{', '.join(parts)} ({entry['seconds']:.1f} s)"


def send(record: Mapping[str, Any]) -> None:
    """Add the numbers to the summary of the run's own W&B run; offline, as one more part of it to sync."""
    known = record.get("wandb")
    if not known or known["mode"] not in ("offline", "online"):
        return
    from vaelab.training.loggers import summary_scalars
    from vaelab.training.wandb_run import start_run

    logger = record["config"].get("logger") or {}
    run = start_run(
        project=known["project"],
        entity=known.get("entity"),
        outputs=Path(known["folder"]).parent,
        mode=known["mode"],
        name=record["name"],
        group=record["group"],
        run_id=known["id"],
        **{key: logger[key] for key in ("init_timeout", "finish_timeout") if key in logger},
    )
    try:
        run.summary.update(
            summary_scalars({k: v for k, v in record["metrics"].items() if k.startswith(PREFIX)})
        )
    finally:
        run.finish()
