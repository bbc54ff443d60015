"""A multirun's work beside its jobs: checks before the first job, and the comparison after the last."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from vaelab.cli.checks import check_places
from vaelab.cli.paths import shown_path
from vaelab.cli.plan import planned_betas
from vaelab.cli.watch import Watch
from vaelab.errors import MISTAKE, PROGRAM, UserError
from vaelab.runs.find import sweep_records
from vaelab.runs.launchers import SWEEP_PROCESS, check_launcher, is_serial
from vaelab.runs.naming import as_written, enumerated
from vaelab.runs.plans import write_plan
from vaelab.runs.record import finite
from vaelab.runs.resume import FINISHED, claim_sweep
from vaelab.runs.status import sweep_jobs
from vaelab.runs.tables import text_table

__all__ = ["Sweep", "comparison", "single_summary"]

log = logging.getLogger(__name__)

WORTH_A_LINE = 30.0  # seconds of training in a sweep
COLUMNS = {"rate": "rate", "distortion": "distortion", "ELBO": "elbo", "active units": "active_units"}
UNITS = "On test images; rate, distortion and ELBO in nats per image."


class Sweep(Callback):
    """A Hydra callback that refuses to mix two sweeps in one folder, and compares the runs at the end."""

    unfinished = 0  # jobs of the last multirun in this process; the command's exit code depends on it
    claim: IO[str] | None = None  # of the class, because launchers pickle the instance
    watch: Watch | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        Sweep.unfinished = 1  # until the jobs are counted
        Sweep.release()
        os.environ[SWEEP_PROCESS] = str(os.getpid())
        if os.environ.pop("WANDB_RUN_ID", None):
            log.warning("WANDB_RUN_ID is ignored in a sweep, whose jobs are W&B runs of their own.")
        with refusing():
            check_places(config)
            check_launcher(config.hydra)
            plan = planned_betas(config)
            enumerate_values(config.hydra)
            folder = fresh_folder(config)
            Sweep.claim = claim_sweep(folder, config)
            if plan is not None:
                betas = ", ".join(f"{beta:g}" for beta in plan.betas)
                print(f"Planned model.beta: {betas} ({write_plan(folder, plan.plain())})", flush=True)
        if not is_serial(config.hydra):
            Sweep.watch = Watch(Path(config.hydra.sweep.dir))
            Sweep.watch.start()

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with refusing():
            check_places(config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        Sweep.end_watch()
        records = sweep_records(folder)
        Sweep.unfinished = sum(job.state != FINISHED for job in sweep_jobs(folder))
        print(f"\n{summary(folder, records)}", flush=True)
        if is_serial(config.hydra) and (hint := side_by_side(records, os.cpu_count() or 1)):
            print(hint, flush=True)
        Sweep.release()

    @classmethod
    def release(cls) -> None:
        """End the claim on the sweep's folder, and the watch of its jobs."""
        cls.end_watch()
        if cls.claim is not None:
            cls.claim.close()
            cls.claim = None

    @classmethod
    def end_watch(cls) -> None:
        if cls.watch is not None:
            cls.watch.stop()
            cls.watch = None


@contextmanager
def refusing() -> Iterator[None]:
    """Print a mistake and exit: Hydra turns other exceptions of a callback than SystemExit into warnings."""
    try:
        yield
    except (UserError, OSError) as error:
        text = f"{error.filename}: {error.strerror}." if isinstance(error, OSError) else str(error)
        print(f"{PROGRAM}: {text}", file=sys.stderr)
        raise SystemExit(MISTAKE) from None


def enumerate_values(hydra: DictConfig) -> None:
    """Replace patterns in the settings of the command line and of a sweep file by their options.

    Settings of the file with ``${...}`` become some of the command line: Hydra would resolve them for all
    jobs alike, with the settings of none.
    """
    sources = hydra.runtime.config_sources
    task = enumerated(hydra.overrides.task, sources)
    params = (as_written(hydra.sweeper.get("params")) or {}).items()
    lines = enumerated((f"{key}={value}" for key, value in params), sources)
    with read_write(hydra):
        hydra.overrides.task = [*(line for line in lines if "${" in line), *task]
        if lines:
            hydra.sweeper.params = dict(line.split("=", 1) for line in lines if "${" not in line)


def fresh_folder(config: DictConfig) -> Path:
    """The sweep's folder; with ``sweep.resume=false`` this command has created it, and no other one."""
    folder = Path(config.hydra.sweep.dir)
    while not config.sweep.resume:
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            OmegaConf.clear_cache(config)  # of ${vaelab.sweep:...}, which now finds the next name
            if (following := Path(config.hydra.sweep.dir)) == folder:
                break  # hydra.sweep.dir is the user's own
            folder = following
    return folder


def sweep_table(records: list[dict[str, Any]]) -> str:
    """A row per job: the swept values, then rate, distortion, ELBO and active units of test images."""
    keys = list(dict.fromkeys(key for record in records for key in record["swept"]))
    states = {record["status"] for record in records} != {"finished"}
    rows = []
    for record in records:
        names = [record["swept"].get(key) for key in keys] or [record["name"]]
        numbers = [finite(record.get("metrics", {}).get(f"test/{metric}")) for metric in COLUMNS.values()]
        units = None if numbers[-1] is None else int(numbers[-1])
        rows.append([*names, *numbers[:-1], units, *([record["status"]] if states else [])])
    header = [
        *([key.removeprefix("model.") for key in keys] or ["run"]),
        *COLUMNS,
        *(["status"] if states else []),
    ]
    return text_table(header, rows)


def summary(folder: Path, records: list[dict[str, Any]]) -> str:
    """The text printed at the end of a sweep."""
    return "\n".join([comparison(folder, records), *wandb_lines(records)])


def comparison(folder: Path, records: list[dict[str, Any]]) -> str:
    """Write the sweep's report and return its text; if that fails, return a plain table of the runs."""
    from vaelab.reports import compare_sweep
    from vaelab.reports.dashboard.sweep_run import log_sweep

    try:
        text = compare_sweep(folder)
        log_sweep(folder, records)
        return text
    except UserError as error:
        reason = str(error)
    except Exception:
        log.exception("The report failed.")
        reason = "see above"
    failed = [
        f"{record['folder'].name} {record['status']}: {record.get('error') or 'no reason given'}"
        for record in records
        if record["status"] != "finished"
    ]
    places = [f"There is no report: {reason}", f"Runs: {shown_path(folder)}/"]
    return "\n".join([sweep_table(records), UNITS, *failed, *places])


def side_by_side(records: list[dict[str, Any]], cores: int) -> str | None:
    """What a sweep whose jobs ran one after the other could save, if that is worth a line; else None."""
    seconds = sum(finite((record.get("timing") or {}).get("fit_seconds")) or 0 for record in records)
    if cores < 2 or len(records) < 2 or seconds < WORTH_A_LINE:
        return None
    return f"Side by side on the {cores} cores of this machine: the same command with hydra/launcher=joblib."


def single_summary(folder: Path, record: dict[str, Any]) -> str:
    """The text printed at the end of a single run."""
    lines = [sweep_table([{**record, "swept": {}}]), UNITS]
    if record.get("verdict"):
        lines.append(f"Verdict: {record['verdict']['label']}: {record['verdict'].get('reason')}")
    drawn = [f"{name}/" for name in ("samples", "latents") if any((folder / name).glob("*.png"))]
    lines.append(f"Run: {shown_path(folder)}/" + (f" (pictures in {' and '.join(drawn)})" if drawn else ""))
    return "\n".join([*lines, *wandb_lines([record])])


def wandb_lines(records: list[dict[str, Any]]) -> list[str]:
    """A line that says where the runs are in W&B, and what went wrong there; empty without W&B files."""
    runs = [record["wandb"] for record in records if record.get("wandb")]
    lines = [
        f"W&B, offline: `wandb leet {folder}` shows the runs, `wandb sync {folder}` sends them"
        for folder in sorted({shown_path(run["folder"]) for run in runs if run["mode"] == "offline"})
    ]
    problems = (run["problem"] for run in runs if run["mode"] == "online" and run.get("problem"))
    urls = sorted({run["url"] for run in runs if run.get("url")})
    if len(urls) > 1:
        projects = sorted({url.partition("/runs/")[0] for url in urls})
        groups = ", ".join(sorted({record["group"] for record in records if record.get("group")}))
        urls = [f"{project} (group {groups})" if groups else project for project in projects]
    return [*lines, *(f"W&B: {text}" for text in dict.fromkeys([*problems, *urls]))]
