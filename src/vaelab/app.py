"""One run, from its composed config to its record: check, then train and measure, whatever happens record it.

Light until the config has passed its checks; what is heavy is imported after that.
"""

import logging
import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vaelab.checks import check_values, resolved
from vaelab.errors import UserError
from vaelab.hints import explain
from vaelab.naming import run_name, swept_overrides
from vaelab.results import SCHEMA, write_record
from vaelab.sweeps import single_summary

log = logging.getLogger(__name__)

PACKAGES = (
    "vaelab", "torch", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "wandb", "numpy",
)  # fmt: skip


def run(cfg: DictConfig) -> None:
    """Check, train, measure and record one run.

    A run that fails is recorded as failed. Alone it then raises; in a multirun it returns, so that the
    other jobs run, and the sweep's end sets the exit code.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    alone = hydra.mode != RunMode.MULTIRUN
    started = time.perf_counter()
    if not is_main_process():
        logging.getLogger().setLevel(logging.WARNING)
    record = new_record(cfg, hydra)
    log.info("%s", record["name"] if alone else f"{folder.name}: {record['name']}")
    try:
        record["config"] = resolved(cfg)
        check_values(record["config"])
        _save(folder, record)
        from vaelab.experiment import train_and_measure  # imports torch and Lightning

        train_and_measure(record, folder, save=lambda: _save(folder, record))
        record["status"] = "finished"
    except Exception as error:
        record |= {"status": "failed", "error": explain(error)}
        mistake = isinstance(error, UserError)
        if mistake and not alone:
            log.error("%s: %s", folder.name, record["error"])
        elif not mistake:
            record["error"] = f"{type(error).__name__}: {record['error']}"
            log.exception("The run failed; its folder is %s", folder)
        if alone:
            raise error if mistake else SystemExit(1) from None
    except BaseException as stop:  # Ctrl-C, or a signal that Lightning turned into an exit
        record |= {"status": "failed", "error": f"interrupted ({type(stop).__name__})"}
        raise
    finally:
        record["timing"]["total_seconds"] = round(time.perf_counter() - started, 3)
        record["finished"] = _now()
        _save(folder, record)
    if alone and is_main_process():
        print(single_summary(folder, record), flush=True)


def new_record(cfg: DictConfig, hydra: Any) -> dict[str, Any]:
    """What is known of a run before it starts. ``config`` is filled in once it is resolved."""
    swept = swept_overrides(hydra)
    multirun = hydra.mode == RunMode.MULTIRUN
    return {
        "schema": SCHEMA,
        "status": "running",
        "error": None,
        "name": str(_select(cfg, "name") or run_name(hydra)),
        "group": _select(cfg, "group") or (Path(hydra.sweep.dir).name if multirun else None),
        "variant": hydra.runtime.choices["model"],
        "dataset": hydra.runtime.choices["data"],
        "seed": _select(cfg, "seed"),
        "beta": _select(cfg, "model.beta"),
        "latent_dim": _select(cfg, "model.latent_dim"),
        # a group's value is the option's name; a key's is its value, with its type
        "swept": {key: _select(cfg, key, default=text) for key, text in swept.items()},
        "overrides": list(hydra.overrides.task),
        "started": _now(),
        "finished": None,
        "git": git_revision(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "wandb": None,
        "weights": None,
        "data": None,
        "parameters": None,
        "timing": {},
        "metrics": {},
        "config": None,
    }


def is_main_process() -> bool:
    """False in the processes that a distributed strategy starts beside the first: they record nothing."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def git_revision() -> str | None:
    """The commit checked out where the command runs, with ``-dirty`` if files differ; None outside of git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def _save(folder: Path, record: dict[str, Any]) -> None:
    if is_main_process():
        write_record(folder, record)


def _select(cfg: DictConfig, key: str, default: Any = None) -> Any:
    """A plain value of the config; ``default`` for a node, a missing key or one that can't be resolved."""
    try:
        value = OmegaConf.select(cfg, key)
    except Exception:  # the checks will say what is wrong; the record is written all the same
        return default
    if OmegaConf.is_list(value):
        return OmegaConf.to_container(value)
    return default if value is None or OmegaConf.is_config(value) else value


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
