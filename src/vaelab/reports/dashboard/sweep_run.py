"""The W&B run that sums a sweep up: the comparison's table, figures and findings, in the group of its jobs.

A sweep does not fail because of it: whatever goes wrong becomes a line in the log.
"""

import csv
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaelab.reports import findings as words
from vaelab.reports.records import read_runs
from vaelab.reports.report import FOLDER
from vaelab.reports.table import Row, Table, build_table
from vaelab.runs.files import replacing

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

PREFIX = "comparison"
ID_FILE = "wandb-run.json"  # in the report's folder: a sweep that goes on updates its run


def log_sweep(folder: Path, records: Sequence[Mapping[str, Any]]) -> str | None:
    """Log ``<folder>/report/``, which ``compare_sweep`` has written, as a run of its own.

    Project, entity, mode and place are those of the sweep's jobs. Returns the run's URL, or its folder if it
    is offline; None if no job logged to W&B or if logging failed, which is said in a warning.
    """
    logged = [
        record for record in records if (record.get("wandb") or {}).get("mode") in ("online", "offline")
    ]
    if not logged:
        return None
    try:
        return _log_sweep(Path(folder), records, logged)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")
        log.warning("W&B: the sweep's summary run failed: %s: %s", type(error).__name__, reason)
        return None


def _log_sweep(
    folder: Path, records: Sequence[Mapping[str, Any]], logged: Sequence[Mapping[str, Any]]
) -> str:
    import wandb

    from vaelab.runs.wandb_run import start_run

    report, job = folder / FOLDER, logged[-1]
    logger = job["config"]["logger"]
    table = build_table(read_runs([folder]).runs)
    findings = words.findings(table)
    content: dict[str, Any] = {f"{PREFIX}/table": as_wandb_table(report / "table.csv")}
    content |= {f"{PREFIX}/{path.stem}": wandb.Image(str(path)) for path in sorted(report.glob("*.png"))}
    group = job["group"] or folder.name
    run = start_run(
        Path(job["config"]["paths"]["outputs"]),
        job["wandb"]["mode"],
        run_id=run_id(report, logged),
        project=job["wandb"]["project"],
        entity=logger.get("entity"),
        name=f"{group}-summary",
        group=group,
        job_type="sweep",
        tags=list(logger.get("tags") or ()),
        notes="\n".join(findings),
        config=settings_of(folder, records),
        **{key: logger[key] for key in ("init_timeout", "finish_timeout") if key in logger},
    )
    try:
        run.log(content)
        run.update_summary({**numbers(table, records), f"{PREFIX}/findings": " ".join(findings)})
        return str(run.facts["url"] or Path(run.dir).parent)
    finally:
        run.finish()


def run_id(report: Path, logged: Sequence[Mapping[str, Any]]) -> str:
    """The id of the sweep's run: the one it had before, else a digest of its jobs' ids."""
    path = report / ID_FILE
    if path.is_file():
        return str(json.loads(path.read_text(encoding="utf-8"))["id"])
    jobs = sorted(record["wandb"]["id"] for record in logged)
    digest = hashlib.sha256(json.dumps(jobs).encode()).hexdigest()[:12]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"id": digest}) + "\n", encoding="utf-8")
    return digest


def settings_of(folder: Path, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The run's config: what was swept and over which values. No flat beta: it is not one of the points."""
    swept: dict[str, list[Any]] = {}
    for record in records:
        for key, value in record["swept"].items():
            values = swept.setdefault(key, [])
            if value not in values:
                values.append(value)
    facts = {key: list(dict.fromkeys(record[key] for record in records)) for key in ("variant", "dataset")}
    return {"sweep": folder.name, "swept": swept, **facts}


def numbers(table: Table, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many runs there are, and the configuration with the highest ELBO if there is one to name."""
    states = [record["status"] for record in records]
    found: dict[str, Any] = {
        "runs": len(states),
        "finished": states.count("finished"),
        "failed": states.count("failed"),
    }
    row = best(table)
    if row is not None:
        found |= {"best": row.label, "best_elbo": table.number(row, "elbo")}
        if row.beta is not None:
            found["best_beta"] = row.beta
    return {f"{PREFIX}/{name}": value for name, value in found.items()}


def best(table: Table) -> Row | None:
    """The row with the highest mean ELBO; None if no row has one, or if the rows' nats can't be compared."""
    measured = [(elbo, row) for row in table.rows if (elbo := table.number(row, "elbo")) is not None]
    if not measured or len(words.comparable_groups(table)) > 1:
        return None
    return max(measured, key=lambda pair: pair[0])[1]


def as_wandb_table(path: Path) -> "wandb.Table":
    """``table.csv`` as a W&B table: numbers as numbers, blanks as None, runs by their folders' names."""
    import wandb

    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    rows = [[*row[:-1], ";".join(Path(run).name for run in row[-1].split(";"))] for row in rows]
    columns = [typed(column) for column in zip(*rows, strict=True)]
    return wandb.Table(columns=[*header], data=[list(row) for row in zip(*columns, strict=True)])


def typed(column: Sequence[str]) -> list[float | None] | list[str | None]:
    """A column of numbers if all that is in it are numbers, else of text."""
    cells = [cell or None for cell in column]
    try:
        return [None if cell is None else float(cell) for cell in cells]
    except ValueError:
        return cells
