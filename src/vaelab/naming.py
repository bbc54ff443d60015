"""What a run is called, and which of its settings were swept. Light: the command line imports this."""

import re
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

LONGEST = 120  # characters of a name; file systems allow 255 bytes


def swept_overrides(hydra: DictConfig) -> dict[str, str]:
    """The settings that vary in this sweep, and their values in this job: ``{"model.beta": "4"}``.

    Hydra hands a job all of its overrides without saying which of them vary; ``multirun.yaml``, which it
    writes into the sweep's folder before the first job, says it.
    """
    if hydra.mode != RunMode.MULTIRUN:
        return {}
    parser = OverridesParser.create()
    job = {o.key_or_group: o.get_value_string() for o in parser.parse_overrides(list(hydra.overrides.task))}
    multirun = Path(hydra.sweep.dir) / "multirun.yaml"
    if not multirun.is_file():  # another sweeper than Hydra's own: what differs between jobs is among these
        return job
    params = [f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items()]
    task = list(OmegaConf.load(multirun).hydra.overrides.task)
    # a key that stands twice counts as the command line, the later one, has it
    varies = {o.key_or_group: o.is_sweep_override() for o in parser.parse_overrides([*params, *task])}
    return {key: value for key, value in job.items() if varies.get(key)}


def swept_name(swept: dict[str, str]) -> str:
    """``{"model.beta": "4", "seed": "1"}`` -> ``beta4-seed1``, safe as a file name."""
    parts = []
    for key, value in swept.items():
        last = key.rsplit(".", 1)[-1]
        if sum(other.rsplit(".", 1)[-1] == last for other in swept) > 1:
            last = key
        parts.append(re.sub(r"[^\w.+-]+", "_", f"{last}{value}", flags=re.ASCII).strip("_"))
    return "-".join(parts)[:LONGEST]


def run_name(hydra: DictConfig) -> str:
    """Variant, data set and the swept values: ``beta_vae-digits-beta4-seed1``."""
    choices = hydra.runtime.choices
    rest = {k: v for k, v in swept_overrides(hydra).items() if k not in ("model", "data")}
    return "-".join(filter(None, [choices["model"], choices["data"], swept_name(rest)]))[:LONGEST]


def job_folder(hydra: DictConfig) -> str:
    """A job's folder in its sweep: its number, then what is swept: ``03-beta4-seed1``."""
    return "-".join(filter(None, [f"{int(hydra.job.num):02d}", swept_name(swept_overrides(hydra))]))


def register_resolvers() -> None:
    """Make ``${vaelab.name:}`` and ``${vaelab.job:}`` known to OmegaConf."""

    def resolver(function: Any) -> Any:
        return lambda: function(HydraConfig.get())

    OmegaConf.register_new_resolver("vaelab.name", resolver(run_name), replace=True)
    OmegaConf.register_new_resolver("vaelab.job", resolver(job_folder), replace=True)
