"""What a multirun does beside its jobs: it ends with what they found, and where everything lies."""

import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from vaelab.cli.tables import text_table
from vaelab.errors import MISTAKE, PROGRAM, UserError
from vaelab.runs.launchers import check_launcher
from vaelab.runs.record import FILE_NAME, read_record
from vaelab.runs.resume import FINISHED, check_sweep, remember_sweep

log = logging.getLogger(__name__)

COLUMNS = {"rate": "rate", "distortion": "distortion", "ELBO": "elbo", "active units": "active_units"}
UNITS = "On test images; rate, distortion and ELBO in nats per image."


class Sweep(Callback):
    """Hydra callback: a sweep is not mixed with another; at its end its runs are compared."""

    unfinished = 0  # jobs of the last multirun in this process; the command line's exit code

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            check_launcher(config.hydra)
            check_sweep(Path(config.hydra.sweep.dir), config)
            remember_sweep(Path(config.hydra.sweep.dir), config)
        except UserError as error:  # Hydra makes a warning of whatever a callback raises, but not of an exit
            print(f"{PROGRAM}: {error}", file=sys.stderr)
            raise SystemExit(MISTAKE) from None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        records = sweep_records(folder)
        Sweep.unfinished = len(unfinished_jobs(folder, records))
        print(f"\n{summary(folder, records)}", flush=True)


def sweep_records(folder: Path) -> list[dict[str, Any]]:
    """The records below a sweep's folder, in the order of the jobs; each gets its ``folder``.

    One that can't be read is left out; the comparison names it.
    """
    records = []
    for path in sorted(folder.glob(f"*/{FILE_NAME}")):
        with suppress(ValueError, OSError):
            records.append({**read_record(path.parent), "folder": path.parent})
    return records


def unfinished_jobs(folder: Path, records: list[dict[str, Any]]) -> set[str]:
    """The names of a sweep's jobs that have no record of a finished run, for whatever reason."""
    from vaelab.runs.status import planned

    finished = {record["folder"].name for record in records if record["status"] == FINISHED}
    unfinished = {record["folder"].name for record in records} - finished
    done = {name.partition("-")[2] for name in finished}
    return unfinished | {name for name in planned(folder) if name and name not in done}


def sweep_table(records: list[dict[str, Any]], split: str = "test") -> str:
    """One row a job: the swept values, then rate, distortion, ELBO and active units on ``split``."""
    keys = list(dict.fromkeys(key for record in records for key in record["swept"]))
    header = [key.removeprefix("model.") for key in keys] or ["run"]
    rows = []
    for record in records:
        named = [record["swept"].get(key) for key in keys] or [record["name"]]
        metrics = record.get("metrics", {})
        numbers = [metrics.get(f"{split}/{metric}") for metric in COLUMNS.values()]
        if numbers[-1] is not None:
            numbers[-1] = int(numbers[-1])
        state = "" if record["status"] == "finished" else record["status"]
        rows.append([*named, *numbers, state])
    return text_table([*header, *COLUMNS, ""], rows)


def summary(folder: Path, records: list[dict[str, Any]]) -> str:
    """The end of a sweep, in words."""
    lines = [comparison(folder, records)]
    lines.append(f"Runs:         {folder}/")
    lines.append(f"Sample grids: {folder}/*/samples/*.png")
    return "\n".join([*lines, *wandb_lines(records)])


def comparison(folder: Path, records: list[dict[str, Any]]) -> str:
    """Write the sweep's report and return what it found; a plain table of the runs if that fails."""
    from vaelab.reports import compare_sweep
    from vaelab.reports.dashboard.sweep_run import log_sweep

    try:
        text = compare_sweep(folder)
        where = log_sweep(folder, records)
        return f"{text}\nW&B summary:  {where}" if where else text
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
    return "\n".join([sweep_table(records), UNITS, *failed, f"There is no report: {reason}"])


def single_summary(folder: Path, record: dict[str, Any]) -> str:
    """The end of a run that was not part of a sweep."""
    lines = [sweep_table([{**record, "swept": {}}])]
    lines.append(UNITS)
    if record.get("verdict"):
        lines.append(f"Verdict:      {record['verdict']['label']}: {record['verdict']['words']}")
    lines.append(f"Run:          {folder}/")
    lines.append(f"Sample grids: {folder}/samples/*.png")
    return "\n".join([*lines, *wandb_lines([record])])


def wandb_lines(records: list[dict[str, Any]]) -> list[str]:
    """Where the W&B files are, and the commands that upload them or look at them; empty if there are none."""
    runs = [record["wandb"] for record in records if record.get("wandb")]
    folders = sorted({run["folder"] for run in runs if run["mode"] == "offline"})
    lines = []
    for folder in folders:
        lines += [
            f"W&B, offline: {folder}",
            f"  upload:     wandb sync {folder}",
            f"  or look:    wandb leet {folder}",
        ]
    lines += [f"W&B: {run['problem']}" for run in runs if run["mode"] == "online" and run.get("problem")]
    urls = sorted({run["url"] for run in runs if run.get("url")})
    return lines + [f"W&B: {url}" for url in urls]
