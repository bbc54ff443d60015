"""What runs and sweeps are called, and which of their settings vary. Light: the command line imports this."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

LONGEST = 120  # characters of a name; file systems allow 255 bytes
MULTIRUN = "multirun.yaml"  # Hydra writes it into the sweep's folder before the first job

# Top-level keys that say where a run is written and how it is followed, not what it computes.
BESIDE_THE_POINT = ("paths", "sweep", "logger", "name", "group", "threads")


def sweep_settings(task: Iterable[str], params: Mapping[str, Any] | None) -> dict[str, Override]:
    """A sweep's settings by key, from the command line's overrides and the sweep file's ``params``."""
    lines = [*(f"{key}={value}" for key, value in (params or {}).items()), *task]
    # a key that stands twice counts as the command line, the later one, has it
    return {o.key_or_group: o for o in OverridesParser.create().parse_overrides(lines)}


def varying(settings: Mapping[str, Override]) -> list[str]:
    """The keys and groups of a sweep's settings that vary, in their order."""
    return [key for key, o in settings.items() if o.is_sweep_override()]


def swept_overrides(hydra: DictConfig) -> dict[str, str]:
    """The settings that vary in this sweep, and their values in this job: ``{"model.beta": "4"}``.

    Hydra hands a job all of its overrides without saying which of them vary; ``multirun.yaml`` says it.
    """
    if hydra.mode != RunMode.MULTIRUN:
        return {}
    job = {key: o.get_value_string() for key, o in sweep_settings(hydra.overrides.task, None).items()}
    multirun = Path(hydra.sweep.dir) / MULTIRUN
    if not multirun.is_file():  # another sweeper than Hydra's own: what differs between jobs is among these
        return job
    task = OmegaConf.load(multirun).hydra.overrides.task
    varies = varying(sweep_settings(task, hydra.sweeper.get("params")))
    return {key: value for key, value in job.items() if key in varies}


def planned_jobs(multirun: Path) -> list[str]:
    """The swept names of a sweep's jobs in their order, as its ``multirun.yaml`` has them.

    Raises OSError, ValueError or yaml.YAMLError if the file can't be read.
    """
    hydra = OmegaConf.load(multirun).hydra
    settings = sweep_settings(hydra.overrides.task, hydra.sweeper.get("params"))
    varies = varying(settings)
    parser = OverridesParser.create()
    names = []
    for job in BasicSweeper.split_arguments(list(settings.values()), max_batch_size=None)[0]:
        values = {o.key_or_group: o.get_value_string() for o in parser.parse_overrides(list(job))}
        names.append(swept_name({key: value for key, value in values.items() if key in varies}))
    return names


def swept_name(swept: Mapping[str, str]) -> str:
    """``{"model.beta": "4", "seed": "1"}`` -> ``beta4-seed1``, safe as a file name."""
    labels = short_labels(swept)
    name = "-".join(_file_name(f"{labels[key]}{value}").strip("_") for key, value in swept.items())
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 7]}-{_digest(dict(swept))}"


def short_labels(keys: Iterable[str]) -> dict[str, str]:
    """Each key's last part, or the whole key where two would be called the same."""
    keys = list(keys)
    last = [key.rsplit(".", 1)[-1] for key in keys]
    return {key: key if last.count(part) > 1 else part for key, part in zip(keys, last, strict=True)}


def run_name(hydra: DictConfig) -> str:
    """Variant, data set and the swept values: ``beta_vae-digits-beta4-seed1``.

    A run that W&B's agent started (WANDB_SWEEP_ID) is alone, and nothing tells which of its settings the W&B
    Sweep varies: all of them are named, but those BESIDE_THE_POINT.
    """
    choices = hydra.runtime.choices
    values = swept_overrides(hydra)
    if hydra.mode != RunMode.MULTIRUN and os.environ.get("WANDB_SWEEP_ID"):
        given = sweep_settings(hydra.overrides.task, None)
        values = {
            key: o.get_value_string()
            for key, o in given.items()
            if key.split(".")[0] not in BESIDE_THE_POINT and not o.is_delete()
        }
    rest = {k: v for k, v in values.items() if k not in ("model", "data")}
    return "-".join(filter(None, [choices["model"], choices["data"], swept_name(rest)]))[:LONGEST]


def job_folder(hydra: DictConfig) -> str:
    """A job's folder in its sweep: its number, then what is swept: ``03-beta4-seed1``.

    A job that has a folder keeps it, though its number changed because the sweep has grown.
    """
    name = swept_name(swept_overrides(hydra))
    number = f"{int(hydra.job.num):02d}"
    if not name:
        return number
    folders = Path(hydra.sweep.dir)
    there = sorted(p.name for p in folders.glob("*") if re.fullmatch(rf"\d+-{re.escape(name)}", p.name))
    return there[0] if there else f"{number}-{name}"


def sweep_name(
    outputs: str, name: str | None, resume: bool, task: list[str], sweeper: Any, choices: Mapping[str, str]
) -> str:
    """The folder of a sweep: ``name``, or else one that the same command always has.

    ``beta_vae-digits-beta-seed-1f3a9c``: variant, data set, what is swept, and a digest of all settings but
    those BESIDE_THE_POINT. If ``resume`` is false, a folder that is not there yet: the name, then name-2, ...
    """
    if name is None:
        settings = sweep_settings(task, sweeper.get("params") if sweeper else None)
        settings = {k: o for k, o in settings.items() if k.split(".")[0] not in BESIDE_THE_POINT}
        swept = varying(settings)
        fixed = [choices[group] for group in ("model", "data") if group not in swept]
        text = {key: str(o.input_line).partition("=")[2] for key, o in settings.items()}
        labels = short_labels(swept).values()
        name = "-".join([*fixed, *labels])[: LONGEST - 7] + f"-{_digest(text)}"
        name = _file_name(name)
    if resume:
        return name
    number, fresh = 1, name
    while (Path(outputs) / "sweeps" / fresh).exists():
        number += 1
        fresh = f"{name}-{number}"
    return fresh


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text, flags=re.ASCII)


def _digest(value: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(value.items())).encode()).hexdigest()[:6]


def register_resolvers() -> None:
    """Make ``${vaelab.name:}``, ``${vaelab.job:}`` and ``${vaelab.sweep:...}`` known to OmegaConf."""

    def resolver(function: Any) -> Any:
        return lambda: function(HydraConfig.get())

    OmegaConf.register_new_resolver("vaelab.name", resolver(run_name), replace=True)
    OmegaConf.register_new_resolver("vaelab.job", resolver(job_folder), replace=True)
    # cached, and Hydra hands the cache on to every job: so all jobs have the sweep's folder
    OmegaConf.register_new_resolver("vaelab.sweep", sweep_name, replace=True, use_cache=True)
