"""Loggers: Weights & Biases, CSV. Each factory takes the run's record and folder, beside its own settings."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from vaelab.errors import UserError

FLUSH_SECONDS = 2.0  # wandb's own 15 s lose everything of a run that is killed before


def wandb_logger(
    record: dict[str, Any],
    folder: Path,
    mode: str = "offline",
    project: str = "vaelab",
    entity: str | None = None,
    tags: Sequence[str] = (),
) -> list[Logger]:
    """Start the W&B run of this job and note it in the record.

    All runs share ``<paths.outputs>/wandb``, so that one ``wandb sync`` covers a sweep. The config is the
    resolved one, nested, and flat copies of what dashboards group and plot by.
    """
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return []
    import wandb

    outputs = Path(record["config"]["paths"]["outputs"]).absolute()
    outputs.mkdir(parents=True, exist_ok=True)
    # staging files and logs of wandb's own would otherwise go to the home directory
    os.environ.setdefault("WANDB_DATA_DIR", str(outputs / "wandb" / "data"))
    os.environ.setdefault("WANDB_CACHE_DIR", str(outputs / "wandb" / "cache"))
    flat = {key: record[key] for key in ("variant", "dataset", "beta", "latent_dim", "seed")}
    settings = wandb.Settings(
        x_transaction_log_flush_interval=FLUSH_SECONDS, console="off", silent=mode != "online"
    )
    try:
        run = wandb.init(
            project=project,
            entity=entity,
            name=record["name"],
            group=record["group"],
            job_type="train",
            tags=[record["variant"], record["dataset"], *tags],
            config={**record["config"], **flat, "run_folder": str(folder), "swept": record["swept"]},
            dir=str(outputs),
            mode=mode,  # type: ignore[arg-type]
            reinit="create_new",  # else the next job of a multirun continues this run
            settings=settings,
        )
    except wandb.errors.Error as error:
        raise UserError(
            f"logger.mode={mode}: W&B can't start: {str(error).splitlines()[0].rstrip('.')}. "
            "Run wandb login, or use logger.mode=offline."
        ) from error
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    record["wandb"] = {
        "id": run.id,
        "project": project,
        "mode": mode,
        "folder": str(outputs / "wandb"),
        "url": run.url if mode == "online" else None,
    }
    return [WandbLogger(experiment=run, project=project, name=record["name"], save_dir=str(outputs))]


def csv_logger(record: dict[str, Any], folder: Path) -> list[Logger]:
    """``metrics.csv`` in the run's folder."""
    logger = CSVLogger(folder, name="", version="")
    with warnings.catch_warnings():
        # it finds Hydra's files in the folder and warns; it deletes no file but an older metrics.csv
        warnings.filterwarnings("ignore", message="Experiment logs directory")
        _ = logger.experiment
    return [logger]
