"""One run, from its composed config to its record: check, then train and measure, whatever happens record it.

Light until the config has passed its checks; what is heavy is imported after that.
"""

import logging
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vaelab.cli.checks import check_values, resolved
from vaelab.cli.hints import error_text
from vaelab.cli.sweep import single_summary
from vaelab.errors import INTERRUPTED, STOPS, UserError
from vaelab.runs.files import remove_temporary
from vaelab.runs.launchers import is_out_of_time, reserved_cores
from vaelab.runs.lock import FILE_NAME as BEAT
from vaelab.runs.lock import beat, claim, read_beat
from vaelab.runs.naming import run_name, swept_overrides
from vaelab.runs.record import HISTORY_FILES, SCHEMA, kl_weight, write_record
from vaelab.runs.resume import FINISHED, LAST, earlier_record, is_worth_keeping, next_step

log = logging.getLogger(__name__)

RESUME = "VAELAB_RESUME"  # environment: the checkpoint that the run goes on from, empty if it starts

PACKAGES = (
    "vaelab", "torch", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "wandb", "numpy",
)  # fmt: skip


def run(cfg: DictConfig) -> None:
    """Check, train, measure and record one run; the same run again goes on where it was stopped.

    A run that fails is recorded as failed. Alone it then raises; in a multirun it returns, so that the
    other jobs run, and the sweep's end sets the exit code. One whose folder holds another run is refused
    in any case, and the other run's record stays.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    alone = hydra.mode != RunMode.MULTIRUN
    if not is_main_process():
        logging.getLogger().setLevel(logging.WARNING)
        _run(cfg, hydra, folder, alone)
        return
    lock = claim(folder)
    if lock is None:
        if alone:
            raise UserError(f"Another process is training in {folder}.")
        log.warning("%s: skipped, another process is training it", folder.name)
        return
    with lock:
        remove_temporary(folder)
        _run(cfg, hydra, folder, alone)


def _run(cfg: DictConfig, hydra: Any, folder: Path, alone: bool) -> None:
    clock = time.perf_counter()
    record = new_record(cfg, hydra)
    label = record["name"] if alone else f"{folder.name}: {record['name']}"
    earlier = earlier_record(folder) if is_main_process() else None
    keep = earlier is not None and is_worth_keeping(folder, earlier)
    before: dict[str, Any] = {}
    try:
        record["config"] = resolved(cfg)
        check_values(record["config"])
        step = next_step(folder, record, earlier)
        if step == "skip":
            assert earlier is not None
            log.info("%s: finished before, skipped", label)
            if alone:
                print(single_summary(folder, earlier), flush=True)
            return
        keep = False
        log.info("%s%s", label, ": goes on from its last checkpoint" if step == "resume" else "")
        checkpoint = take_up(folder, record, earlier, step)
        before = (read_beat(folder) or {}) if step == "resume" else {}
        _save(folder, record)
        from vaelab.training.fit import train_and_measure  # imports torch and Lightning

        def tell(**progress: Any) -> None:
            beat(folder, **{**progress, "total_seconds": _total(before, clock)})

        if is_main_process():
            tell(**{"epoch": 0, "step": 0, **before})
        train_and_measure(
            record,
            folder,
            save=lambda: _save(folder, record),
            checkpoint=checkpoint,
            before=before,
            tell=tell,
            reserved=reserved_cores(hydra),
        )
        record["status"] = FINISHED
    except Exception as error:
        if keep:  # refused: the folder holds another run, or this one as it was before a mistake was made
            if not alone:
                log.error("%s: %s", folder.name, error_text(error))
            raise
        late = is_out_of_time(error)
        record |= {"status": "interrupted" if late else "failed", "error": error_text(error)}
        mistake = isinstance(error, UserError)
        if (mistake or late) and not alone:
            log.error("%s: %s", folder.name, record["error"])
        elif not mistake:
            record["error"] = f"{type(error).__name__}: {record['error']}"
            log.exception("The run failed; its folder is %s", folder)
        if alone:
            raise error if mistake else SystemExit(1) from None
    except BaseException as stop:  # Ctrl-C, or SIGTERM
        code = stop.code if isinstance(stop, SystemExit) else INTERRUPTED
        record |= {"status": "interrupted", "error": f"stopped ({STOPS.get(code, type(stop).__name__)})"}
        raise
    finally:
        if not keep:
            record["timing"]["total_seconds"] = round(_total(before, clock), 3)
            record["finished"] = _now()
            record["sessions"][-1] |= {"ended": record["finished"], "status": record["status"]}
            _save(folder, record)
    if record["status"] == FINISHED and is_main_process():
        (folder / BEAT).unlink(missing_ok=True)
    if alone and is_main_process():
        print(single_summary(folder, record), flush=True)


def take_up(
    folder: Path, record: dict[str, Any], earlier: Mapping[str, Any] | None, step: str
) -> Path | None:
    """Prepare folder and record for a run that starts or goes on; return the checkpoint to go on from.

    The processes that a distributed strategy starts later learn of it through the environment.
    """
    if not is_main_process():
        return Path(os.environ[RESUME]) if os.environ.get(RESUME) else None
    record["sessions"][-1]["from"] = "checkpoint" if step == "resume" else "start"
    if earlier is not None:
        record["sessions"] = [*earlier.get("sessions", []), *record["sessions"]]
        if earlier["status"] != "failed":
            record["wandb"] = earlier.get("wandb")  # the same W&B run
        if step == "resume":
            record["started"] = earlier["started"]
        else:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            for name in (BEAT, *HISTORY_FILES):
                (folder / name).unlink(missing_ok=True)
    checkpoint = (folder / LAST).absolute() if step == "resume" else None
    os.environ[RESUME] = str(checkpoint or "")
    return checkpoint


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
        "beta": kl_weight(cfg),
        "latent_dim": _select(cfg, "model.latent_dim"),
        # a group's value is the option's name; a key's is its value, with its type
        "swept": {key: _select(cfg, key, default=text) for key, text in swept.items()},
        "overrides": list(hydra.overrides.task),
        "started": _now(),
        "finished": None,
        "sessions": [{"started": _now(), "ended": None, "status": "running", "from": "start"}],
        "git": git_revision(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "wandb": None,
        "weights": None,
        "data": None,
        "parameters": None,
        "timing": {},
        "metrics": {},
        "verdict": None,
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


def _total(before: Mapping[str, Any], clock: float) -> float:
    """Seconds of all sessions of the run up to now."""
    return float(before.get("total_seconds", 0)) + time.perf_counter() - clock


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
