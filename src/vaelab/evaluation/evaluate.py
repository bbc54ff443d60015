"""Evaluate runs: measure what is missing in each record, write it at once, and send it to W&B."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vaelab.errors import UserError, first_line
from vaelab.evaluation.curve import beta_for, default_beta, ensure_point
from vaelab.evaluation.disentanglement_scores import udr_of_runs
from vaelab.evaluation.entries import add, describe, is_measured, measure, send_to_wandb
from vaelab.evaluation.trained_run import TrainedRun
from vaelab.runs.comparable import comparable
from vaelab.runs.lock import claim
from vaelab.runs.places import outputs_of
from vaelab.runs.record import check_finished, plain, read_record, write_record
from vaelab.runs.resume import FINISHED
from vaelab.training.assembly import build
from vaelab.training.loading import find_device
from vaelab.training.threads import set_threads

__all__ = ["evaluate_runs"]

log = logging.getLogger(__name__)

UDR = "udr"


def evaluate_runs(folders: Sequence[Path], cfg: DictConfig, trust: Sequence[str] = ()) -> bool:
    """Evaluate the runs in ``folders`` one after the other with the config ``cfg`` (conf/evaluate.yaml).

    A run or an evaluation that fails does not stop the others. Returns False if any failed.

    Args:
        trust: packages of the user's own whose parts the runs' configs may name.

    Raises:
        UserError: the settings of an evaluation or the device are wrong. It is raised before any measurement.
    """
    set_threads(cfg.threads)
    evaluations = {name: build(f"eval.{name}", node) for name, node in cfg.eval.items() if node is not None}
    device = find_device(cfg.device)
    succeeded = [evaluate_run(folder, evaluations, cfg, device, trust) for folder in folders]
    if cfg.udr is not None:
        rank_seeds(folders, cfg, device, trust)
    return all(succeeded)


def evaluate_run(
    folder: Path, evaluations: Mapping[str, Any], cfg: DictConfig, device: str, trust: Sequence[str]
) -> bool:
    """Evaluate one run; return False if the run or any evaluation failed."""
    try:
        with finished_record(folder) as record:
            print(f"{folder.name}: {record['name']}", flush=True)
            run = TrainedRun(folder, record, _cache(folder), device, trust=trust, places=cfg.data)
            targeted = any(value is not None for value in cfg.target.values())
            if targeted:
                run.beta = beta_for(run, cfg.target)
                print(f"  beta {run.beta:g}", flush=True)
            else:
                run.beta = default_beta(run) if cfg.beta is None else cfg.beta
            entries = [record]  # what gets the numbers: the run, or the point of its curve that is evaluated
            if run.beta is not None:
                point = ensure_point(run, run.beta)
                entries = [*([record] if run.beta == default_beta(run) else []), point]
                write_record(folder, record)
                print(f"  test images at beta {run.beta:g}: {numbers_of(point)}", flush=True)
            if targeted:
                return True
            record_of = {"weights": record["weights"], "evaluation": entries[-1].get("evaluation")}
            new, failed = [], []
            for name, evaluation in evaluations.items():
                settings = plain(OmegaConf.to_container(cfg.eval[name], resolve=True))
                if not cfg.force and is_measured(record_of, name, settings):
                    before = describe(record_of["evaluation"][name])
                    print(f"  {name}: measured before, {before}", flush=True)
                    continue
                try:
                    entry = measure(evaluation, run, settings)
                except Exception as error:
                    failed.append(name)
                    expected = isinstance(error, UserError)
                    if not expected:
                        log.exception("%s: the evaluation %s failed", folder, name)
                    reason = error if expected else f"failed ({type(error).__name__}: {error})"
                    print(f"  {name}: {reason}", flush=True)
                    continue
                new.append(name)
                for place in entries:
                    add(place, name, entry)
                write_record(folder, record)  # at once: the next evaluation may be interrupted
                print(f"  {name}: {describe(entry)}", flush=True)
            if new and cfg.log:
                _send(record, folder)
            return not failed
    except UserError as error:
        print(f"{folder}: {error}", flush=True)
        return False


def numbers_of(point: Mapping[str, Any]) -> str:
    """``rate 10.02, distortion 17.6, ELBO -27.6, 9 active units``, of a point of a curve."""
    metrics = point["metrics"]
    parts = [f"{name} {float(metrics[f'test/{name}']):.4g}" for name in ("rate", "distortion", "elbo")]
    return ", ".join([*parts, f"{float(metrics['test/active_units']):g} active units"])


def _cache(folder: Path) -> Path:
    return outputs_of(folder) / "cache"


def _send(record: Mapping[str, Any], folder: Path) -> None:
    """Add the numbers to the run's W&B run; a folder that can't be written costs no evaluation."""
    try:
        send_to_wandb(record, outputs_of(folder))
    except OSError as error:
        print(f"  W&B: not written: {first_line(error)}", flush=True)


@contextmanager
def finished_record(folder: Path) -> Iterator[dict[str, Any]]:
    """The record of a finished run, locked against changes by other processes.

    Raises:
        UserError: another process holds the lock, the record can't be read, or the run is not finished.
    """
    lock = claim(folder)
    if lock is None:
        raise UserError("another process is using it.")
    with lock:
        try:
            record = read_record(folder)
        except (OSError, ValueError) as error:
            raise UserError(f"its record can't be read: {error}") from error
        if record.get("status") != FINISHED:
            raise UserError(f"not evaluated: its status is {record.get('status')}.")
        try:
            check_finished(record)
        except ValueError as error:
            raise UserError(f"not evaluated: its record is damaged: {error}.") from error
        yield record


def rank_seeds(folders: Sequence[Path], cfg: DictConfig, device: str, trust: Sequence[str]) -> None:
    """Compute UDR for each group of runs that differ only in their seed."""
    settings = plain(OmegaConf.to_container(cfg.udr))
    for runs in replicates(folders, cfg, device, trust):
        seeds = settings | {"seeds": [run.record["seed"] for run in runs]}
        if len(runs) < 2 or (not cfg.force and all(is_measured(run.record, UDR, seeds) for run in runs)):
            continue
        try:
            entry = measure(lambda *_: udr_of_runs(runs, **settings), runs[0], seeds)  # noqa: B023
        except UserError as error:
            entry = {"skipped": str(error)}
        if "skipped" in entry:
            log.info("UDR: not for %s: %s", runs[0].folder.parent, entry["skipped"])
            continue
        for place, run in enumerate(runs):
            metrics = {name: values[place] for name, values in entry["metrics"].items()}
            run_entry = entry | {"metrics": metrics, "weights": run.record["weights"]}
            try:
                with finished_record(run.folder) as record:  # reread: it may have changed
                    add(record, UDR, run_entry)
                    write_record(run.folder, record)
                    if cfg.log:
                        _send(record, run.folder)
                print(f"{run.folder.name}: {describe(run_entry)}", flush=True)
            except UserError as error:
                print(f"{run.folder}: {UDR} is not kept: {error}", flush=True)


def replicates(
    folders: Sequence[Path], cfg: DictConfig, device: str, trust: Sequence[str]
) -> list[list[TrainedRun]]:
    """Groups of finished runs whose settings that affect the result differ only in the seed."""
    groups: dict[str, list[TrainedRun]] = {}
    for folder in folders:
        with suppress(OSError, ValueError):
            record = read_record(folder)
            if record.get("status") == FINISHED:
                check_finished(record)
                config = {key: value for key, value in comparable(record["config"]).items() if key != "seed"}
                key = json.dumps(config, sort_keys=True)
                groups.setdefault(key, []).append(
                    TrainedRun(folder, record, _cache(folder), device, trust=trust, places=cfg.data)
                )
    return list(groups.values())
