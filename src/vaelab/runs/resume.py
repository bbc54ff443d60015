"""The same command again: which runs are finished, which go on, and which must not be touched. Light."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vaelab.errors import UserError
from vaelab.runs.comparable import comparable, differences
from vaelab.runs.files import replacing
from vaelab.runs.naming import sweep_settings, varying
from vaelab.runs.record import FILE_NAME, read_record

log = logging.getLogger(__name__)

LAST = "checkpoints/last.ckpt"  # what an interrupted run goes on from, below its folder
FINISHED = "finished"
SWEEP = "sweep.yaml"  # in a sweep's folder: the config that its jobs have in common
SHOWN = 8  # differences that an error lists


def earlier_record(folder: Path) -> dict[str, Any] | None:
    """The record that an earlier session left in ``folder``, None if there is none.

    One that can't be read is kept beside, as ``results.json.unreadable``.
    """
    try:
        return read_record(folder)
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        aside = (folder / FILE_NAME).rename(folder / f"{FILE_NAME}.unreadable")
        log.warning("%s can't be read (%s); it is kept as %s.", folder / FILE_NAME, error, aside.name)
        return None


def is_worth_keeping(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether the run has something that a run with another config must not replace."""
    return record.get("status") == FINISHED or (record.get("status") != "failed" and has_checkpoint(folder))


def has_checkpoint(folder: Path) -> bool:
    return (folder / LAST).is_file()


def next_step(folder: Path, record: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> str:
    """What to do with a run: ``start``, ``resume`` from its last checkpoint, or ``skip`` what is finished.

    A failed run starts anew, and so does one that was stopped before its first checkpoint.

    Raises:
        UserError: the folder holds a run with another config.
    """
    if earlier is None or not is_worth_keeping(folder, earlier):
        return "start"
    different = list(differences(comparable(earlier.get("config") or {}), comparable(record["config"])))
    if different:
        raise UserError(changed(f"{folder} holds a run", different))
    return "skip" if earlier["status"] == FINISHED else "resume"


def check_sweep(folder: Path, config: Any) -> None:
    """Refuse a sweep whose folder holds jobs of another config, before any of them is trained.

    The settings that do not vary are compared, as composed; each job's own are compared again when its turn
    comes. A sweep may grow: more values of the same keys.

    Raises:
        UserError: naming the settings that differ, before and now.
    """
    kept = []
    for file in sorted(folder.glob(f"*/{FILE_NAME}")):
        record = earlier_record(file.parent)
        if record is not None and is_worth_keeping(file.parent, record):
            kept.append(record)
    if not kept or not (folder / SWEEP).is_file():
        return
    before = OmegaConf.load(folder / SWEEP)
    swept_before, swept_now = swept_keys(before), swept_keys(config)
    if swept_before != swept_now:
        raise UserError(
            f"The sweep in {folder} varies {_words(swept_before)}; this one varies {_words(swept_now)}. "
            "Name the same keys in the same order, or give it another sweep.name."
        )
    fixed = [
        {
            key: value
            for key, value in comparable(OmegaConf.to_container(node)).items()
            if not any(key == swept or key.startswith(f"{swept}.") for swept in swept_now)
        }
        for node in (before, config)
    ]
    different = list(differences(*fixed))
    if different:
        raise UserError(changed(f"The sweep in {folder} was run", different))


def remember_sweep(folder: Path, config: Any) -> None:
    """Keep the config for :func:`check_sweep`; Hydra's own multirun.yaml may be cut off by a kill."""
    with replacing(folder / SWEEP) as temporary:
        OmegaConf.save(config, temporary)


def swept_keys(config: Any) -> list[str]:
    """The keys and groups that vary in the sweep that ``config``, with Hydra's own node, describes.

    In their order, since the jobs' folders are named in that order.
    """
    return varying(sweep_settings(config.hydra.overrides.task, config.hydra.sweeper.get("params")))


def changed(what: str, different: list[str]) -> str:
    """The error for a config that is not the one before."""
    shown = "; ".join(different[:SHOWN])
    more = f"; and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
    return (
        f"{what} with another config: {shown}{more}.\n"
        "Put it back, or use another sweep.name, or sweep.resume=false for a fresh folder."
    )


def _words(keys: Iterable[str]) -> str:
    return ", ".join(keys) or "nothing"
