"""The names of runs and sweeps, and the settings that vary in a sweep."""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vaelab.errors import UserError, did_you_mean, shown
from vaelab.runs.comparable import bears_on_result

__all__ = [
    "MULTIRUN",
    "as_call",
    "as_written",
    "enumerated",
    "job_folder",
    "job_settings",
    "planned_jobs",
    "register_resolvers",
    "run_folder",
    "run_name",
    "short_names",
    "sweep_name",
    "sweep_settings",
    "swept_name",
    "swept_overrides",
    "varying",
]

LONGEST = 120  # characters in a name; file systems allow 255 bytes
MULTIRUN = "multirun.yaml"  # Hydra writes it into the sweep's folder before the first job


def as_written(node: Any) -> Any:
    """The settings in a node of the config as plain text, with ``${...}`` as the user has written it.

    OmegaConf resolves ``${seed}`` when the node is iterated: with the seed of the sweep, not with that of
    each job.
    """
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node


def as_call(node: Any) -> str:
    """A config node in the form of a call.

    >>> as_call({"_target_": "vaelab.models.KL", "weight": {"_target_": "vaelab.models.Linear", "stop": 4.0}})
    'KL(weight=Linear(stop=4.0))'
    """
    if isinstance(node, Mapping):
        arguments = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
        if "_target_" not in node:
            return "{" + ", ".join(f"{key}: {as_call(value)}" for key, value in arguments.items()) + "}"
        inner = ", ".join(f"{key}={as_call(value)}" for key, value in arguments.items())
        return f"{str(node['_target_']).rpartition('.')[2]}({inner})"
    if isinstance(node, Sequence) and not isinstance(node, str):
        return f"[{', '.join(map(as_call, node))}]"
    return "null" if node is None else str(node)


def sweep_settings(task: Iterable[str], params: Mapping[str, Any] | None) -> dict[str, Override]:
    """A sweep's settings by key, from the command line's overrides and the sweep file's ``params``."""
    lines = [*(f"{key}={value}" for key, value in (as_written(params) or {}).items()), *as_written(task)]
    # the later setting of a key wins, so the command line overrides the file
    return {o.key_or_group: o for o in OverridesParser.create().parse_overrides(lines)}


def enumerated(settings: Iterable[str], sources: Iterable[Any]) -> list[str]:
    """The settings of a sweep, with the options that a pattern matches in its place.

    ``network=glob(*conv)`` becomes ``network=burgess_conv,conv,locatello_conv``, so that whatever reads the
    settings later needs no search path.

    Args:
        sources: ``hydra.runtime.config_sources``, the folders that have options.

    Raises:
        UserError: a setting has no value, so that the sweep would have no job.
    """
    folders = [Path(source.path) for source in sources if source.schema == "file"]
    lines = []
    for line in as_written(settings):
        o = OverridesParser.create().parse_override(line)
        if isinstance(pattern := o.value(), Glob):
            files = (file for folder in folders for file in folder.glob(f"{o.key_or_group}/*.yaml"))
            options = sorted({file.stem for file in files})
            values = list(pattern.filter(options))
            if not values:
                raise UserError(f"{line} matches no option of {o.key_or_group}. {did_you_mean('', options)}")
            line = f"{o.get_key_element()}={','.join(values)}"
        elif o.is_sweep_override() and o.is_discrete_sweep() and not list(o.sweep_string_iterator()):
            raise UserError(f"{line} has no value, and the sweep no job.")
        lines.append(line)
    return lines


def varying(settings: Mapping[str, Override]) -> list[str]:
    """The keys and groups that vary in a sweep, in their order."""
    return [key for key, o in settings.items() if o.is_sweep_override()]


def swept_overrides(hydra: DictConfig) -> dict[str, str]:
    """The settings that vary in this sweep, and their values in this job: ``{"model.beta": "4"}``.

    Hydra passes all overrides to a job without marking those that vary; ``multirun.yaml`` shows them.
    """
    if hydra.mode != RunMode.MULTIRUN:
        return {}
    job = {key: o.get_value_string() for key, o in sweep_settings(hydra.overrides.task, None).items()}
    multirun = Path(hydra.sweep.dir) / MULTIRUN
    if not multirun.is_file():  # another sweeper than Hydra's basic one, which passes only what varies
        return job
    task = _task_of(multirun, _state(multirun))
    varies = varying(sweep_settings(task, hydra.sweeper.get("params")))
    return {key: value for key, value in job.items() if key in varies}


@lru_cache(maxsize=1)
def _task_of(multirun: Path, state: tuple[int, ...]) -> list[str]:
    """The overrides of the command that wrote ``multirun``; each job asks several times for the same file."""
    return list(OmegaConf.load(multirun).hydra.overrides.task)


def _state(file: Path) -> tuple[int, ...]:
    """What changes when a file is written anew."""
    state = file.stat()
    return state.st_mtime_ns, state.st_size, state.st_ino


def planned_jobs(sweep: Path) -> list[str]:
    """The names (:func:`swept_name`) of the jobs of the last command of the sweep in the folder ``sweep``.

    Empty if Hydra's ``multirun.yaml`` does not list them, as for another sweeper.
    """
    multirun = sweep / MULTIRUN
    return list(_planned_by(multirun, _state(multirun))) if multirun.is_file() else []


@lru_cache(maxsize=1)
def _planned_by(multirun: Path, state: tuple[int, ...]) -> list[str]:
    """The names by ``multirun``; each job asks for them several times."""
    try:
        hydra = OmegaConf.load(multirun).hydra
        plain: Any = OmegaConf.to_container(hydra, resolve=False)
        if "vaelab.job" not in plain.get("sweep", {}).get("subdir", "vaelab.job"):
            return []  # folders with names of the user's own
        settings = sweep_settings(hydra.overrides.task, hydra.sweeper.get("params"))
        jobs = [sweep_settings(job, None) for job in job_settings(settings)]
    except Exception:  # another program may have written the file
        return []
    keys = varying(settings)
    return [swept_name({key: job[key].get_value_string() for key in keys}) for job in jobs]


def job_settings(settings: Mapping[str, Override]) -> list[list[str]]:
    """The settings of each job of a sweep: every combination of the values, as in Hydra's basic sweeper.

    >>> job_settings(sweep_settings(["model=vae", "model.beta=1,2"], None))
    [['model=vae', 'model.beta=1'], ['model=vae', 'model.beta=2']]
    """
    choices = [
        [f"{o.get_key_element()}={text}" for text in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [str(o.input_line)]
        for o in settings.values()
    ]
    return [list(job) for job in itertools.product(*choices)]


def swept_name(swept: Mapping[str, str]) -> str:
    """A file name from the swept keys and their values.

    >>> swept_name({"model.beta": "4", "seed": "1"})
    'beta4-seed1'
    """
    values = zip(short_names(swept), swept.values(), strict=True)
    name = "-".join(_file_name(f"{key}{value}").strip("_") for key, value in values)
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 7]}-{_digest(sorted(swept.items()))}"


def short_names(keys: Iterable[str]) -> list[str]:
    """The last part of each key; the whole key if another key has the same last part.

    >>> short_names(["model.beta", "model.lr", "optimizer.lr"])
    ['beta', 'model.lr', 'optimizer.lr']
    """
    last = {key: key.rsplit(".", 1)[-1] for key in keys}
    return [key if list(last.values()).count(part) > 1 else part for key, part in last.items()]


def run_name(hydra: DictConfig) -> str:
    """Variant, data set and the swept values: ``beta_vae-digits-beta4-seed1``.

    Hydra sees a run of W&B's sweep agent (WANDB_SWEEP_ID) as a single run. Its name has the settings that the
    agent's file for the run lists (WANDB_SWEEP_PARAM_PATH); without one, all that affect the result.
    """
    choices = hydra.runtime.choices
    values = swept_overrides(hydra)
    if hydra.mode != RunMode.MULTIRUN and os.environ.get("WANDB_SWEEP_ID"):
        given = sweep_settings(hydra.overrides.task, None)
        values = {
            key: o.get_value_string()
            for key, o in given.items()
            if bears_on_result(key) and not o.is_delete()
        }
        chosen = _agents_keys()
        values = {key: value for key, value in values.items() if key in chosen} or values
    rest = {k: v for k, v in values.items() if k not in ("model", "data")}
    return "-".join(filter(None, [choices["model"], choices["data"], swept_name(rest)]))[:LONGEST]


def _agents_keys() -> set[str]:
    """The keys that W&B's sweep agent has chosen values for; empty if its file can't be read."""
    try:
        parameters = OmegaConf.load(os.environ["WANDB_SWEEP_PARAM_PATH"])
        return {str(key) for key in parameters} - {"wandb_version"}
    except Exception:  # no such variable or file, or not YAML: W&B's matter
        return set()


def run_folder(hydra: Any, name: Any, time: str) -> str:
    """The name of a single run's folder: ``name``, or the time and :func:`run_name`.

    Raises:
        UserError: the name has no letter or digit.
    """
    if name is None:
        return f"{time}-{run_name(hydra)}"
    folder = _file_name(str(name)).lstrip(".-+_")[:LONGEST]
    if not folder:
        raise UserError(f"name={name}: it names the run's folder, so it needs a letter or a digit.")
    return folder


def job_folder(hydra: DictConfig) -> str:
    """The name of a job's folder, from its number and the swept values: ``03-beta4-seed1``.

    A job keeps an existing folder when the sweep grows and the job's number changes.
    """
    name = swept_name(swept_overrides(hydra))
    number = f"{int(hydra.job.num):02d}"
    if not name:
        return number
    folders = Path(hydra.sweep.dir).glob("*")
    existing = sorted(path.name for path in folders if re.fullmatch(rf"\d+-{re.escape(name)}", path.name))
    return existing[0] if existing else f"{number}-{name}"


def sweep_name(
    outputs: str, name: str | None, resume: bool, task: list[str], sweeper: Any, choices: Mapping[str, str]
) -> str:
    """The name of a sweep's folder: ``name``, or one derived from the command.

    ``beta_vae-digits-beta-seed-1f3a9c`` consists of variant, data set, the swept keys, and a digest of these
    keys and of the fixed settings that affect the result. It does not depend on the swept values, so that a
    command with more values continues the same sweep.

    If ``resume`` is false, the first of name, name-2, name-3, ... that does not exist yet.
    """
    if name is None:
        settings = sweep_settings(task, sweeper.get("params") if sweeper else None)
        swept = varying(settings)
        fixed = {
            key: str(o.input_line).partition("=")[2]
            for key, o in settings.items()
            if key not in swept and bears_on_result(key)
        }
        parts = [choices[group] for group in ("model", "data") if group not in swept]
        parts += short_names(swept)
        digest = _digest([swept, sorted(fixed.items())])
        name = _file_name("-".join(parts)[: LONGEST - 7] + f"-{digest}")
    if resume:
        return name
    # a command that wants a fresh folder creates it with exist_ok=False (vaelab.runs.resume.claim_sweep)
    numbered = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(fresh for fresh in numbered if not (Path(outputs) / "sweeps" / fresh).exists())


def register_resolvers() -> None:
    """Register ``${vaelab.name:}``, ``${vaelab.job:}`` and the other resolvers with OmegaConf."""
    OmegaConf.register_new_resolver("vaelab.name", _with_hydra(run_name), replace=True)
    OmegaConf.register_new_resolver(
        "vaelab.run", lambda name, time: run_folder(HydraConfig.get(), name, time), replace=True
    )
    OmegaConf.register_new_resolver("vaelab.job", _with_hydra(job_folder), replace=True)
    OmegaConf.register_new_resolver("vaelab.wandb_mode", wandb_mode, replace=True)
    OmegaConf.register_new_resolver("vaelab.latent_dim", latent_dim_of, replace=True)
    # cached: Hydra copies the cache to every job, so that all jobs get the same folder
    OmegaConf.register_new_resolver("vaelab.sweep", sweep_name, replace=True, use_cache=True)


def wandb_mode() -> str:
    """WANDB_MODE with the SDK's older names; offline if it is empty or not set."""
    mode = os.environ.get("WANDB_MODE") or "offline"
    return {"dryrun": "offline", "run": "online"}.get(mode, mode)


def latent_dim_of(groups: Any) -> int:
    """The latent dimensions of all groups of a hierarchy; 1 where they are none, which the model refuses.

    Raises:
        UserError: ``groups`` is no list of whole numbers.
    """
    sizes = as_written(groups)
    if not isinstance(sizes, list) or not all(type(size) is int for size in sizes):
        raise UserError(f"model.groups={shown(sizes)}: must be a list of 2 to 4 whole numbers >= 1.")
    return max(1, sum(sizes))


def _with_hydra(function: Callable[[Any], str]) -> Callable[[], str]:
    return lambda: function(HydraConfig.get())


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text, flags=re.ASCII)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:6]
