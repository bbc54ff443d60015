"""Repeating a command: finished runs are skipped, interrupted ones resumed, the others started."""

import fcntl
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal

from omegaconf import OmegaConf

from vaelab.errors import UserError, first_line
from vaelab.runs.comparable import comparable, differences
from vaelab.runs.files import archive_damage, replacing
from vaelab.runs.lock import is_alive
from vaelab.runs.naming import sweep_settings, varying
from vaelab.runs.record import FILE_NAME, read_record

__all__ = [
    "EPOCHS",
    "FINISHED",
    "LAST",
    "check_sweep",
    "claim_sweep",
    "earlier_record",
    "extension",
    "is_worth_keeping",
    "next_step",
    "remember_sweep",
]

log = logging.getLogger(__name__)

LAST = "checkpoints/last.ckpt"  # in a run's folder: the checkpoint from which it resumes
FINISHED = "finished"
EPOCHS = "trainer.max_epochs"  # the one setting that bears on the result and may grow
FRESH = "another sweep.name, or sweep.resume=false for a fresh folder"
SWEEP = "sweep.yaml"  # in a sweep's folder: the config common to its jobs
CLAIM = "sweep.lock"  # in a sweep's folder: shared by the commands that work on it
SHOWN = 8  # differences listed in an error
ROOMS = (
    "functional",
    "data",
    "models",
    "metrics",
    "figures",
    "training",
    "evaluation",
)  # the packages that configs name


def earlier_record(folder: Path) -> dict[str, Any] | None:
    """The record of an earlier session in ``folder``; None if there is none.

    An unreadable record is renamed to ``results.json.unreadable``.
    """
    try:
        return read_record(folder)
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        aside = (folder / FILE_NAME).rename(folder / f"{FILE_NAME}.unreadable")
        log.warning("%s can't be read (%s); it is renamed to %s.", folder / FILE_NAME, error, aside.name)
        return None


def is_worth_keeping(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether the run has results or a checkpoint, which a run with another config must not overwrite."""
    status = record.get("status")
    return status == FINISHED or (status != "failed" and (folder / LAST).is_file())


def next_step(
    folder: Path, record: Mapping[str, Any], earlier: Mapping[str, Any] | None, alone: bool = False
) -> Literal["start", "resume", "skip"]:
    """Whether to start a run, to resume it from its last checkpoint, or to skip a finished run.

    More epochs than before extend a run, which resumes though it is finished.

    A failed run, and one that stopped before its first checkpoint, starts again. So does one whose checkpoint
    is damaged; the file is kept as ``last.ckpt.damaged``.

    Args:
        folder: the run's folder.
        record: the new record, with the config.
        earlier: the record in ``folder``; None if there is none.
        alone: the run is no job of a sweep.

    Raises:
        UserError: the folder contains a run with another config or of an older vaelab, or one that can't be
            extended.
    """
    if earlier is None or not is_worth_keeping(folder, earlier):
        return "start"
    fresh = "another name" if alone else FRESH
    config = earlier.get("config") or {}
    before, now = comparable(config), comparable(record["config"])
    longer = extension(config, record["config"])
    if longer is not None:
        before[EPOCHS] = now[EPOCHS]
    if earlier.get("data_file") and record.get("data_file") == earlier["data_file"]:
        path = config["data"]["path"]  # the same file in another place
        before |= {k: now.get(k) for k, value in before.items() if k.startswith("data.") and value == path}
    _refuse_differences(f"{folder} holds a run", before, now, fresh)
    if earlier.get("data_file") and record.get("data_file") not in (None, earlier["data_file"]):
        raise UserError(
            f"{folder} holds a run on other data: data.path={record['config']['data']['path']} has changed "
            f"since. Restore it, or use {fresh}."
        )
    finished = earlier["status"] == FINISHED
    if finished and longer is None:
        return "skip"
    if longer is not None:
        _refuse_shares(folder, record["config"], longer)
    damage = archive_damage(folder / LAST) if (folder / LAST).is_file() else "it is missing"
    if damage is not None and finished:
        raise UserError(f"{folder} is finished and can't be extended: {LAST} can't be read ({damage}).")
    if damage is not None:
        aside = (folder / LAST).rename(folder / f"{Path(LAST).name}.damaged")
        log.warning(
            "%s is damaged (%s) and is kept as %s; the run starts again.", folder / LAST, damage, aside
        )
        return "start"
    return "resume"


def extension(before: Any, now: Any) -> tuple[int, int] | None:
    """The epochs of a config and the larger number of another one; None if they are not larger."""
    first, second = ((config.get("trainer") or {}).get("max_epochs") for config in (before, now))
    if not (isinstance(first, int) and isinstance(second, int) and 0 < first < second):
        return None
    return first, second


def _refuse_shares(folder: Path, config: Mapping[str, Any], longer: tuple[int, int]) -> None:
    """Refuse to extend a run with a schedule in shares of the training.

    In the longer training it would have had other values from the first step on.
    """
    flat = comparable(config)
    for key, target in flat.items():
        node, _, name = key.rpartition(".")
        kind = str(target).rpartition(".")[2]
        if name != "_target_" or not kind.endswith("Schedule") or kind == "ConstantSchedule":
            continue
        if flat.get(f"{node}.unit", "share") != "steps":
            raise UserError(
                f"{folder} can't be extended from {longer[0]} to {longer[1]} epochs: {node} follows a "
                f"schedule in shares of the training ({kind}), which would have been another from the start. "
                "Train a new run, or count the schedule in steps (unit: steps) from the first."
            )


def outdated_names(settings: Mapping[str, Any]) -> list[str]:
    """The ``_target_`` values among flat settings that are not of the form ``vaelab.<room>.<Name>``.

    Older versions named parts by their module, as in ``vaelab.objectives.kl.KL``.
    """
    targets = [str(value) for key, value in settings.items() if key.rpartition(".")[2] == "_target_"]
    parts = {target: target.split(".") for target in targets if target.startswith("vaelab.")}
    return [target for target, names in parts.items() if len(names) != 3 or names[1] not in ROOMS]


def claim_sweep(folder: Path, config: Any) -> IO[str]:
    """Check a sweep's config and store it, before its first job; an open file is the claim.

    Several commands may work on one sweep. While the file of one of them is open, a command with another
    config is refused, though no job may have a checkpoint yet. The operating system closes the file of a
    process that is killed.

    Raises:
        UserError: the folder contains or gets the jobs of another config (:func:`check_sweep`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    claim = (folder / CLAIM).open("w")
    try:
        alone = True
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alone = False
        except OSError:  # a file system without locks
            pass
        if alone:
            check_sweep(folder, config)
            remember_sweep(folder, config)
        with suppress(OSError):
            fcntl.flock(claim, fcntl.LOCK_SH)
        # the exclusive lock ends before the shared one is granted: another command may come between
        check_sweep(folder, config, at_work=True)
        remember_sweep(folder, config)
    except BaseException:
        claim.close()
        raise
    return claim


def check_sweep(folder: Path, config: Any, at_work: bool = False) -> None:
    """Refuse a sweep whose folder contains jobs with another config, before any job starts.

    This function compares the settings that do not vary; each job compares all of its settings when it
    starts. A sweep may grow by more values of the same keys.

    Args:
        at_work: whether another command may be at work on the sweep; its jobs may not have begun yet.

    Raises:
        UserError: the swept keys or fixed settings differ; the message lists them.
    """
    records = [(file.parent, earlier_record(file.parent)) for file in sorted(folder.glob(f"*/{FILE_NAME}"))]
    kept = at_work or any(
        record is not None and (is_worth_keeping(job, record) or is_alive(job)) for job, record in records
    )
    if not kept or not (folder / SWEEP).is_file():
        return
    try:
        before = OmegaConf.load(folder / SWEEP)
        swept_before = swept_keys(before)
    except Exception as error:  # whatever the YAML parser and OmegaConf raise for a damaged file
        aside = (folder / SWEEP).rename(folder / f"{SWEEP}.damaged")
        log.warning("%s is damaged (%s) and is kept as %s.", folder / SWEEP, first_line(error), aside.name)
        return
    swept = swept_keys(config)
    if swept_before != swept:
        raise UserError(
            f"The sweep in {folder} varies {_listed(swept_before)}; this one varies {_listed(swept)}. "
            "Name the same keys in the same order, or give it another sweep.name."
        )

    def fixed(node: Any) -> dict[str, Any]:
        settings = comparable(OmegaConf.to_container(node))
        return {key: value for key, value in settings.items() if not f"{key}.".startswith(below)}

    below = tuple(f"{key}." for key in swept)
    earlier, now = fixed(before), fixed(config)
    if extension(before, config) is not None:  # each job looks at its schedules
        earlier[EPOCHS] = now.get(EPOCHS)
    _refuse_differences(f"The sweep in {folder} was run", earlier, now)


def remember_sweep(folder: Path, config: Any) -> None:
    """Store the config for :func:`check_sweep`. A kill can leave Hydra's multirun.yaml half written."""
    with replacing(folder / SWEEP) as temporary:
        OmegaConf.save(config, temporary)


def swept_keys(config: Any) -> list[str]:
    """The keys and groups that vary in a sweep with this config, which includes the node ``hydra``.

    They are in the order in which they name the jobs' folders.
    """
    return varying(sweep_settings(config.hydra.overrides.task, config.hydra.sweeper.get("params")))


def _refuse_differences(
    what: str, before: Mapping[str, Any], now: Mapping[str, Any], others: str = FRESH
) -> None:
    old = outdated_names(before)
    if old and old != outdated_names(now):
        raise UserError(f"{what} by an older vaelab, which had other names: {old[0]}. Use {others}.")
    if (monitor := "model.monitor.metric") in before.keys() - now.keys():
        raise UserError(
            f"{what} by an older vaelab, which chose the weights by {before[monitor]}. Use {others}."
        )
    different = list(differences(before, now))
    if different:
        shown = "; ".join(different[:SHOWN])
        more = f"; and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
        raise UserError(f"{what} with another config: {shown}{more}.\nRestore them, or use {others}.")


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(keys) or "nothing"
