"""Check, train and record one run. It imports torch only after the config has passed its checks."""

import logging
import shlex
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaelab.cli.checks import check_latents, check_values, resolved
from vaelab.cli.errors import OneLine, unforeseen
from vaelab.cli.paths import importable
from vaelab.cli.sweep import single_summary
from vaelab.cli.unread import check_choices, check_keys
from vaelab.errors import INTERRUPTED, PROGRAM, STOPS, DiskFull, UserError, first_line, needs_memory
from vaelab.runs.files import cannot_write
from vaelab.runs.launchers import is_orphaned, is_serial, reserved_cores
from vaelab.runs.naming import as_written, planned_jobs, run_name, swept_overrides
from vaelab.runs.record import kl_weight
from vaelab.runs.request import RunRequest
from vaelab.runs.session import FolderInUse, RunSession, is_main_process
from vaelab.runs.status import remaining, sweep_jobs

__all__ = ["run", "run_request", "train_run"]

log = logging.getLogger(__name__)


def train_run(cfg: DictConfig, request: RunRequest, stored: bool = False) -> dict[str, Any]:
    """Check, train, measure and record one run; calling it again resumes an interrupted run.

    Args:
        cfg: the composed config without the node ``hydra``, with or without resolved interpolations.
        request: the folder and the name of the run.
        stored: the config is a record's, whose keys were checked when it was composed.

    Returns:
        The run's record. In a multirun (``request.alone`` is False) it may be that of a failed run.

    Raises:
        FolderInUse: another process is training in the folder.
        UserError: a value is wrong, or the folder contains a run with another config.
    """
    with RunSession(request) as session:
        # a sweep over several variants may vary a number that one of them does not have
        fixed = [
            text for text in request.overrides if text.partition("=")[0].lstrip("+") not in request.swept
        ]
        if not stored:
            check_keys(cfg, fixed)
        config = resolved(cfg)
        session.describe(config)
        check_values(config)
        check_latents(config, request.overrides)
        if session.decide() != "skip":
            from vaelab.training.fit import fit  # imports torch and Lightning

            try:
                result = fit(config, request, session.start, session)
            except Exception as error:
                begun = session.record["data"] is not None
                if not begun and isinstance(error, OmegaConfBaseException):
                    raise UserError(f"The config can't be read: {first_line(error)}.") from error
                if not begun and (text := needs_memory(error)):
                    raise UserError(f"The data or the model of these settings: {text}") from error
                raise
            session.finish(result)
    return session.record


def run(cfg: DictConfig) -> None:
    """The job of ``vaelab-train``.

    A failed single run ends the command with exit code 1. In a multirun the other jobs run, and the end of
    the sweep sets the exit code.
    """
    if is_orphaned(HydraConfig.get()):
        return
    request = hydra_request(cfg, HydraConfig.get())
    OneLine.job = request.job
    try:
        run_request(cfg, request)
    finally:
        OneLine.job = ""


def run_request(cfg: DictConfig, request: RunRequest, stored: bool = False) -> None:
    """Call :func:`train_run` and print a summary, or how a single run goes on that was stopped."""
    if not is_main_process():
        logging.getLogger().setLevel(logging.WARNING)
    try:
        record = train_run(cfg, request, stored)
    except FolderInUse:
        if request.alone:
            raise
        log.warning("%s: skipped, another process is training it", request.folder.name)
        return
    except UserError:
        raise
    except (KeyboardInterrupt, SystemExit) as stop:
        code = stop.code if isinstance(stop, SystemExit) else INTERRUPTED
        if request.alone and is_main_process() and code in STOPS:
            command = f"{PROGRAM} {shlex.quote(f'resume={request.folder}')}"
            print(f"{PROGRAM}: stopped by {STOPS[code]}. To go on: {command}", file=sys.stderr)
            raise SystemExit(code) from None
        raise
    except Exception as error:
        why = cannot_write(error, request.folder)
        if isinstance(error, DiskFull) or why:
            text = str(error) if isinstance(error, DiskFull) else f"Can't write to {request.folder}: {why}."
            print(f"{PROGRAM}: {text}", file=sys.stderr)
            # no Exception, after which the other jobs of a sweep would be tried
            raise SystemExit(1) from None
        log.exception("%s", unforeseen(error, str(request.folder / "run.log")))
        raise SystemExit(1) from None
    if request.alone and is_main_process():
        print(single_summary(request.folder, record), flush=True)


def hydra_request(cfg: DictConfig, hydra: Any) -> RunRequest:
    """The request of this job according to the config node ``hydra``."""
    check_choices(cfg, hydra.runtime.choices)
    importable(_own_folders(hydra))
    alone = hydra.mode != RunMode.MULTIRUN
    folder = Path(hydra.runtime.output_dir)
    serial = alone or is_serial(hydra)
    return RunRequest(
        folder=folder,
        variant=hydra.runtime.choices["model"],
        dataset=hydra.runtime.choices["data"],
        name=str(_select(cfg, "name") or run_name(hydra)),
        group=_select(cfg, "group") or (None if alone else Path(hydra.sweep.dir).name),
        beta=kl_weight(cfg),
        # of a group, the name of its option; of a key, its value with its type
        swept={key: _select(cfg, key, default=text) for key, text in swept_overrides(hydra).items()},
        overrides=tuple(as_written(hydra.overrides.task)),
        alone=alone,
        cores=reserved_cores(hydra),
        job="" if alone else place_of(hydra),
        beside=not serial,
        sweep_left=None if alone or not serial else seconds_of_others(Path(hydra.sweep.dir), folder),
    )


def seconds_of_others(sweep: Path, job: Path) -> float | None:
    """Seconds that the other jobs of a sweep still take, one after another; None if that is unknown."""
    return remaining([other for other in sweep_jobs(sweep) if other.name != job.name])


def place_of(hydra: Any) -> str:
    """``job 3/6``: the job's place in the sweep; ``job 3`` if the number of jobs is unknown."""
    place, number = int(hydra.job.num) + 1, len(planned_jobs(Path(hydra.sweep.dir)))
    return f"job {place}/{number}" if place <= number else f"job {place}"


def _own_folders(hydra: Any) -> list[str]:
    """The folders of options that the user has added: ``--config-dir``, or a search path."""
    sources = hydra.runtime.config_sources
    return [s.path for s in sources if s.schema == "file" and s.provider not in ("hydra", "main", "schema")]


def _select(cfg: DictConfig, key: str, default: Any = None) -> Any:
    """A plain value of the config; ``default`` for a node, a missing key or one that can't be resolved."""
    try:
        value = OmegaConf.select(cfg, key)
    except Exception:  # the checks report the mistake later; the record is written in any case
        return default
    if OmegaConf.is_list(value):
        return OmegaConf.to_container(value)
    return default if value is None or OmegaConf.is_config(value) else value
