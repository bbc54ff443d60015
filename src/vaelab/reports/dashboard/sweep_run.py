"""The summary run of a sweep in W&B: the comparison's table, figures and findings, in the jobs' group."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab.reports.columns import as_dicts
from vaelab.reports.findings import comparable_groups, findings, ranked
from vaelab.reports.records import read_runs
from vaelab.reports.report import FOLDER
from vaelab.reports.table import Row, Table, build_table

__all__ = ["PREFIX", "log_sweep"]

log = logging.getLogger(__name__)

PREFIX = "comparison"  # of every key that the run logs


def log_sweep(folder: Path, records: Sequence[Mapping[str, Any]]) -> str | None:
    """Log ``<folder>/report/``, which ``compare_sweep`` has written, as a run of its own.

    Project, entity, mode and folder are those of the sweep's jobs. A sweep that continues updates its run.

    Returns:
        The run's URL, or its folder if it is offline. None if no job logged to W&B, or if logging failed: a
        warning says why, and the sweep goes on.
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

    job = logged[-1]
    logger = job["config"]["logger"]
    table = build_table(read_runs([folder]).runs)
    sentences = findings(table)
    rows = as_dicts(table)
    values = [[*row.values()] for row in rows]
    content: dict[str, Any] = {f"{PREFIX}/table": wandb.Table([*rows[0]], values, allow_mixed_types=True)}
    for path in sorted((folder / FOLDER).glob("*.png")):
        content[f"{PREFIX}/{path.stem}"] = wandb.Image(str(path))
    group = job["group"] or folder.name
    run = start_run(
        Path(job["config"]["paths"]["outputs"]),
        job["wandb"]["mode"],
        run_id=f"{logged[0]['wandb']['id']}-summary",  # the same when the sweep grows
        project=job["wandb"]["project"],
        entity=logger.get("entity"),
        name=f"{group}-summary",
        group=group,
        job_type="sweep",
        tags=list(logger.get("tags") or ()),
        notes="\n".join([*filter(None, [logger.get("notes")]), *sentences]),
        config=settings_of(folder, records),
        **{key: logger[key] for key in ("init_timeout", "finish_timeout") if key in logger},
    )
    try:
        run.log(content)
        run.update_summary({**numbers(table, records), f"{PREFIX}/findings": " ".join(sentences)})
        return str(run.facts["url"] or Path(run.dir).parent)
    finally:
        run.finish()


def settings_of(folder: Path, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The run's config: what was swept and over which values. It has no flat beta, so no panel plots it."""
    swept: dict[str, list[Any]] = {}
    for record in records:
        for key, value in record["swept"].items():
            values = swept.setdefault(key, [])
            if value not in values:
                values.append(value)
    facts = {key: list(dict.fromkeys(record[key] for record in records)) for key in ("variant", "dataset")}
    return {"sweep": folder.name, "swept": swept, **facts}


def numbers(table: Table, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many runs there are, and the best configuration with its ELBO if there is one to name."""
    states = [record["status"] for record in records]
    values: dict[str, Any] = {
        "runs": len(states),
        "finished": states.count("finished"),
        "failed": states.count("failed"),
    }
    row = best(table)
    if row is not None:
        values |= {"best": row.label, "best_elbo": table.number(row, "elbo")}
        if row.beta is not None:
            values["best_beta"] = row.beta
    return {f"{PREFIX}/{name}": value for name, value in values.items()}


def best(table: Table) -> Row | None:
    """The row that the findings call the best; None if no row has an ELBO, or if nats can't be compared."""
    order, _ = ranked(table, table.rows)
    return order[0] if order and len(comparable_groups(table)) == 1 else None
