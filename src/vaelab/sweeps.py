"""What a multirun does beside its jobs: it ends with what they found, and where everything lies."""

import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from vaelab.errors import UserError
from vaelab.results import FILE_NAME, read_record
from vaelab.tables import text_table

log = logging.getLogger(__name__)

COLUMNS = {"rate": "rate", "distortion": "distortion", "ELBO": "elbo", "active units": "active_units"}
UNITS = "On test images; rate, distortion and ELBO in nats per image."


class SweepTable(Callback):
    """Hydra callback: after the last job of a multirun, compare the runs and say where everything lies."""

    failed_jobs = 0  # of the last multirun in this process; the command line's exit code

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        records = sweep_records(folder)
        SweepTable.failed_jobs = sum(record["status"] != "finished" for record in records)
        print(f"\n{summary(folder, records)}", flush=True)


def sweep_records(folder: Path) -> list[dict[str, Any]]:
    """The records below a sweep's folder, in the order of the jobs; each gets its ``folder``."""
    return [
        {**read_record(path.parent), "folder": path.parent} for path in sorted(folder.glob(f"*/{FILE_NAME}"))
    ]


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
    from vaelab.compare import compare_sweep

    try:
        return compare_sweep(folder)
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
    urls = sorted({run["url"] for run in runs if run.get("url")})
    return lines + [f"W&B: {url}" for url in urls]
