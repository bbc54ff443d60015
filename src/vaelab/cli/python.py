"""The Python functions that correspond to ``vaelab-train`` and ``vaelab-train -m``."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from vaelab.cli.compose import composed
from vaelab.cli.hints import error_text
from vaelab.cli.plan import planned_betas
from vaelab.cli.resume import is_resumption, resumed
from vaelab.cli.run import hydra_request, train_run
from vaelab.cli.sweep import comparison, enumerate_values, fresh_folder
from vaelab.errors import INTERRUPTED, UserError
from vaelab.runs.files import replacing
from vaelab.runs.find import sweep_records
from vaelab.runs.naming import (
    MULTIRUN,
    job_folder,
    job_settings,
    run_folder,
    sweep_settings,
)
from vaelab.runs.plans import write_plan
from vaelab.runs.resume import claim_sweep

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]

    from vaelab.training.loading import Run
    from vaelab.training.plan import Plan

__all__ = ["SweepResult", "sweep", "train"]


def train(*settings: str, config_dir: str | None = None) -> "Run":
    """Train, measure and record one run, as ``vaelab-train *settings`` does.

    >>> run = vaelab.train("model=vae", "data=digits", "trainer.max_epochs=5")       # doctest: +SKIP
    >>> run.metrics["test/elbo"]                                                     # doctest: +SKIP
    -31.2

    Args:
        settings: as on the command line.
            ``resume=FOLDER`` goes on with a run.
        config_dir: a folder with further options, such as ``model/mine.yaml``.

    Raises:
        UserError: a mistake, with the message that the command would print.
        KeyboardInterrupt: the training was interrupted; its folder contains a checkpoint and a record.
    """
    with user_errors(settings):
        if is_resumption(settings):
            from vaelab.training.loading import load

            with interrupts():
                return load(resumed(settings))
        cfg = composed("train", settings, config_dir, with_hydra=True)
        hydra = take_hydra(cfg)
        if hydra.mode == RunMode.MULTIRUN:
            raise UserError("These settings are a sweep: use vaelab.sweep(...).")
        time = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        hydra.runtime.output_dir = str(Path(cfg.paths.outputs) / "runs" / run_folder(hydra, cfg.name, time))
        folder = run_job(cfg, hydra)
        from vaelab.training.loading import load  # imports torch

        return load(folder)


@dataclass(frozen=True)
class SweepResult:
    """The result of a sweep.

    Attributes:
        folder: the sweep's folder, which contains the report, ``report/report.html``.
        rows: the settings and metrics of each configuration, averaged over its seeds.
        findings: sentences about the metrics.
        text: the table and the findings as the command prints them; ``print(result)`` prints it.
    """

    folder: Path
    rows: list[dict[str, Any]]
    findings: list[str]
    text: str

    def frame(self) -> "pandas.DataFrame":
        """The rows as a pandas DataFrame.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        return pandas.DataFrame(self.rows)

    def __str__(self) -> str:
        return self.text


def sweep(*settings: str, config_dir: str | None = None) -> SweepResult:
    """Train each combination of the values, one after another, and compare the runs.

    Repeating the sweep, from Python or by ``vaelab-train -m *settings``, skips finished runs.

    >>> result = vaelab.sweep("model=beta_vae", "model.beta=0.5,1,2")                # doctest: +SKIP
    >>> [row["test/rate"] for row in result.rows]                                    # doctest: +SKIP
    [6.4, 3.4, 1.1]

    Args:
        settings: as on the command line: ``key=value``, or ``key=value,value`` to vary the key.
        config_dir: a folder with further options.

    Raises:
        UserError: a mistake, with the message that the command would print; or no run has finished.
        KeyboardInterrupt: the sweep was interrupted; the same call continues it.
    """
    with user_errors(settings):
        base, jobs, plan = planned(settings, config_dir)
        folder = fresh_folder(base)
        refused = []
        with claim_sweep(folder, base):
            if plan is not None:
                write_plan(folder, plan.plain())
            with replacing(folder / MULTIRUN) as temporary:  # for vaelab-status
                OmegaConf.save(base, temporary)
            for number, job in enumerate(jobs):
                cfg = composed("train", job, config_dir, with_hydra=True)
                hydra = take_hydra(cfg)
                hydra.mode, hydra.sweep.dir, hydra.job.num = RunMode.MULTIRUN, str(folder), number
                hydra.runtime.output_dir = str(folder / job_folder(hydra))
                try:
                    run_job(cfg, hydra)
                except UserError as error:  # the folder contains another run, or another process trains in it
                    refused.append(str(error))
        records = sweep_records(folder)
        if not any(record["status"] == "finished" for record in records):
            errors = [record["error"] for record in records if record.get("error")]
            raise UserError([*refused, *errors, f"No run of {folder} has finished."][0])
        return compared(folder, records)


def planned(
    settings: Sequence[str], config_dir: str | None
) -> tuple[DictConfig, list[list[str]], "Plan | None"]:
    """The config common to the jobs, with the node ``hydra``; the settings of each job; the plan of betas."""
    if any(setting.lstrip("+~").startswith("hydra") for setting in settings):
        raise UserError("vaelab.sweep(...) takes no settings of Hydra: use vaelab-train -m for them.")
    given = sweep_settings(settings, None).values()
    fixed = [str(o.input_line) for o in given if not o.is_sweep_override()]
    base = composed("train", fixed, config_dir, with_hydra=True)
    hydra = base.hydra
    with open_dict(base):
        hydra.mode, hydra.overrides.task = RunMode.MULTIRUN, list(settings)
        plan = planned_betas(base)
        enumerate_values(hydra)
    return base, job_settings(sweep_settings(hydra.overrides.task, hydra.sweeper.get("params"))), plan


def take_hydra(cfg: DictConfig) -> DictConfig:
    """Remove the node ``hydra`` from the config and return it."""
    hydra: DictConfig = cfg.hydra.copy()
    with open_dict(cfg):
        del cfg["hydra"]
    OmegaConf.set_struct(hydra, False)
    return hydra


def run_job(cfg: DictConfig, hydra: DictConfig) -> Path:
    """Train one run in the folder that Hydra's node names, and return the folder."""
    request = hydra_request(cfg, hydra)
    request.folder.mkdir(parents=True, exist_ok=True)
    with interrupts():
        train_run(cfg, request)
    return request.folder


@contextmanager
def interrupts() -> Iterator[None]:
    """Turn the exit that follows Ctrl-C into a KeyboardInterrupt, which does not end a notebook.

    Lightning then ignores Ctrl-C for the rest of the process: what it meant before is restored.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            if before is not None and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt from None
        raise


def compared(folder: Path, records: list[dict[str, Any]]) -> SweepResult:
    """Write the sweep's report and return its content."""
    from vaelab.reports.columns import as_dicts
    from vaelab.reports.findings import findings
    from vaelab.reports.records import read_runs
    from vaelab.reports.table import build_table

    text = comparison(folder, records)
    table = build_table(read_runs([folder]).runs)
    return SweepResult(folder, as_dicts(table), findings(table), text)


@contextmanager
def user_errors(settings: Sequence[str]) -> Iterator[None]:
    """Turn Hydra's errors inside the block into UserErrors with the message that the command prints."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(error_text(error, settings)) from error
