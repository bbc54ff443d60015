"""``vaelab-train resume=outputs/runs/...``: go on with a single run by its own record."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf

from vaelab.cli.checks import resolved
from vaelab.cli.compose import composed
from vaelab.cli.paths import importable, split_outputs
from vaelab.cli.run import run_request, train_run
from vaelab.errors import PROGRAM, UserError, did_you_mean, nearest
from vaelab.runs.find import locate, record_folders
from vaelab.runs.places import KEYS, outputs_of, with_data_found
from vaelab.runs.record import FILE_NAME, flatten, read_record
from vaelab.runs.request import RunRequest

__all__ = ["is_resumption", "resume", "resumed"]

RESUME = "resume="


def is_resumption(arguments: Iterable[str]) -> bool:
    """Whether the command line contains ``resume=...``."""
    return any(argument.startswith(RESUME) for argument in arguments)


def resume(arguments: Sequence[str]) -> None:
    """Go on with the run that ``resume=...`` names.

    The config is the record's, so that neither the options nor the folder in which it began need be there.
    More epochs extend it; no other setting that bears on the result may change.

    Raises:
        UserError: there is no such run, its config names parts that are not trusted, or a setting is wrong.
    """
    parser = argparse.ArgumentParser(prog=PROGRAM, add_help=False)
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--trust", action="append", default=[])
    parsed, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        raise UserError(f"{unknown[0]} can't be combined with {RESUME}...")
    if parsed.trust:
        importable([parsed.config_dir] if parsed.config_dir else [])
    cfg, request = stored_request(parsed.settings, parsed.trust)
    hydra = composed("train", [], with_hydra=True)
    hydra.hydra.runtime.output_dir = str(request.folder)
    configure_log(hydra.hydra.job_logging)
    run_request(cfg, request, stored=True)


def resumed(settings: Sequence[str]) -> Path:
    """:func:`resume` for Python, without a log file and a summary. Returns the run's folder."""
    cfg, request = stored_request(settings, ())
    train_run(cfg, request, stored=True)
    return request.folder


def stored_request(settings: Sequence[str], trust: Sequence[str]) -> tuple[DictConfig, RunRequest]:
    """The config of the run that ``resume=...`` names, with the other settings, and its request."""
    names, outputs = split_outputs(settings)
    name, *more = [setting.removeprefix(RESUME) for setting in names if setting.startswith(RESUME)]
    if more:
        raise UserError(f"{RESUME}... names one run.")
    folders = record_folders(locate(name, outputs)) if name else []
    if len(folders) != 1 or not (folders[0] / FILE_NAME).is_file():
        hint = " A sweep goes on by the command that began it." if len(folders) > 1 else ""
        raise UserError(f"{RESUME}{name}: it is not the folder of a run.{hint}")
    folder = folders[0]
    try:
        record = read_record(folder)
    except ValueError as error:
        raise UserError(f"{folder / FILE_NAME} can't be read: {error}") from None
    kinds = {"config": dict, "name": str, "variant": str, "dataset": str, "status": str}
    lacks = [key for key, kind in kinds.items() if not isinstance(record.get(key), kind)]
    if lacks:
        raise UserError(f"{folder / FILE_NAME} has no {lacks[0]}: give the command again that began the run.")
    changes = _values([setting for setting in names if not setting.startswith(RESUME)])
    places = {key: changes.pop(f"data.{key}") for key in KEYS if f"data.{key}" in changes}
    config = with_data_found(record["config"], folder, record, places)
    from vaelab.training.trust import stored_config  # imports torch

    cfg = stored_config(config, folder / FILE_NAME, trust)
    known = flatten(resolved(cfg))
    ends = {key.rpartition(".")[2]: key for key in reversed(known)}
    for key, value in changes.items():
        if key not in known:
            guess = ends.get(key) or ends.get(nearest(key, ends) or "")
            hint = f"Did you mean {guess!r}?" if guess and "." not in key else did_you_mean(key, known)
            raise UserError(f"The run has no key {key!r}. {hint}")
        OmegaConf.update(cfg, key, value)
    cfg.paths.outputs = str(outputs_of(folder))
    return cfg, RunRequest(
        folder=folder,
        variant=record["variant"],
        dataset=record["dataset"],
        name=record["name"],
        beta=record.get("beta"),
        group=record.get("group"),
        swept=record.get("swept") or {},
        overrides=tuple(record.get("overrides") or ()),
    )


def _values(settings: Sequence[str]) -> dict[str, Any]:
    """The settings as values; ranges, additions and deletions are refused."""
    values = {}
    for override in OverridesParser.create().parse_overrides(list(settings)):
        if override.is_sweep_override() or override.is_add() or override.is_delete() or override.package:
            raise UserError(
                f"{override.input_line}: {RESUME}... takes only key=value of keys that the run has."
            )
        values[override.key_or_group] = override.value()
    return values
