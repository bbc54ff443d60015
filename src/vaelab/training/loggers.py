"""Factories of loggers (W&B, TensorBoard, CSV), which get the run's request, its config and settings."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from vaelab.errors import UserError
from vaelab.runs.comparable import comparable
from vaelab.runs.curve import named_by_beta
from vaelab.runs.record import named_scalars
from vaelab.runs.request import RunRequest, RunResult
from vaelab.training.assembly import build
from vaelab.training.callbacks.history import read_rows
from vaelab.training.failsafe import failsafe

__all__ = [
    "csv_logger",
    "running_loggers",
    "tensorboard_logger",
    "wandb_facts",
    "wandb_logger",
    "write_summary",
]

LONGEST_TAG = 64  # of W&B

log = logging.getLogger(__name__)


@contextmanager
def running_loggers(
    cfg: DictConfig, request: RunRequest, wandb_id: str | None = None
) -> Iterator[list[Logger]]:
    """The run's loggers, which do not raise. The W&B run ends with exit code 0, or 1 if the block raises."""
    loggers: list[Logger] = []
    if cfg.logger:
        config = OmegaConf.to_container(cfg)
        made = build("logger", cfg.logger, request=request, config=config, wandb_id=wandb_id)
        loggers = [failsafe(logger) for logger in made]
    exit_code = 1
    try:
        yield loggers
        exit_code = 0
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=exit_code)


def wandb_facts(loggers: Sequence[Logger]) -> dict[str, Any] | None:
    """The facts of the W&B run for the record (see ``runs.wandb_run.FailsafeRun``); None without W&B.

    ``FailsafeRun`` updates it if W&B fails later.
    """
    return next((logger.experiment.facts for logger in loggers if isinstance(logger, WandbLogger)), None)


def write_summary(loggers: Sequence[Logger], result: RunResult) -> None:
    """Write the result's numbers to the W&B summary, which otherwise contains the last logged values."""
    summary = {
        **named_scalars(result.metrics),
        **named_scalars(named_by_beta(result.curve or ())),
        "verdict": (result.verdict or {}).get("label"),
        "weights": result.weights,
        "weights_choice": result.weights_choice,
        "status": "finished",
        **result.timing,
    }
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            run: Any = logger.experiment  # a FailsafeRun
            run.update_summary(summary)
            if result.curve:
                run.log(curve_panels(result.curve))


CURVE = ("rate", "distortion", "elbo", "active_units", "objective")


def curve_panels(curve: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``curve/table`` of the test, a row for each beta; ``curve/rate_distortion``, a line through them."""
    import wandb

    rows = [[point["beta"], *(point["metrics"].get(f"test/{name}") for name in CURVE)] for point in curve]
    table = wandb.Table(columns=["beta", *CURVE], data=rows)
    line = wandb.plot.line(table, "rate", "distortion", title="Distortion over rate, test images")
    return {"curve/table": table, "curve/rate_distortion": line}


def wandb_logger(
    request: RunRequest,
    config: Mapping[str, Any],
    wandb_id: str | None = None,
    mode: str = "offline",
    project: str = "vaelab",
    entity: str | None = None,
    tags: Sequence[str] = (),
    notes: str | None = None,
    init_timeout: float = 20.0,
    finish_timeout: float = 30.0,
) -> list[Logger]:
    """Start the W&B run of this job, or continue the one with the id ``wandb_id``.

    Its config is the resolved config, nested, and flat copies of the keys by which dashboards group and plot.
    In distributed training only rank 0 logs.

    Raises:
        UserError: W&B refuses the settings.
    """
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return []
    if long := [tag for tag in tags if not 0 < len(tag) <= LONGEST_TAG]:
        raise ValueError(f"tags must have 1 to {LONGEST_TAG} characters, got {long[0][:80]!r}")
    from vaelab.runs.wandb_run import start_run

    outputs = Path(config["paths"]["outputs"])
    flat = {
        "variant": request.variant,
        "dataset": request.dataset,
        "beta": request.beta,
        "latent_dim": config["model"]["latent_dim"],
        "seed": config["seed"],
    }
    run: Any = start_run(  # a FailsafeRun, which has the methods of wandb.Run that are called
        outputs,
        mode,
        run_id=wandb_id,
        init_timeout=init_timeout,
        finish_timeout=finish_timeout,
        project=project,
        entity=entity,
        name=request.name,
        group=request.group,
        job_type="train",
        tags=[request.variant, request.dataset, *tags],
        notes=notes,
        config={**config, **flat, "run_folder": str(request.folder), "swept": dict(request.swept)},
    )
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    if run.facts["url"]:
        log.info("W&B: %s", run.facts["url"])
    return [WandbLogger(experiment=run, project=project, name=request.name, save_dir=str(outputs))]


class TensorBoard(TensorBoardLogger):
    """Lightning's logger of TensorBoard, with pictures."""

    def log_image(self, key: str, images: Sequence[str], step: int | None = None) -> None:
        """Log the pictures in these files under ``key``."""
        for file in images:
            with Image.open(file) as picture:
                self.experiment.add_image(key, np.asarray(picture.convert("RGB")), step, dataformats="HWC")


def tensorboard_logger(
    request: RunRequest, config: Mapping[str, Any], wandb_id: str | None = None
) -> list[Logger]:
    """Writes ``tensorboard/`` into the run's folder: event files, one for each session of the run.

    Steps after the last checkpoint appear twice in a resumed run: TensorBoard shows the later ones.

    Raises:
        UserError: TensorBoard is not installed.
    """
    if find_spec("tensorboard") is None and find_spec("tensorboardX") is None:
        raise UserError("logger=tensorboard needs TensorBoard: pip install 'vaelab[tensorboard]'")
    logger = TensorBoard(request.folder, name="tensorboard", version="", default_hp_metric=False)
    logger.log_hyperparams(
        {
            "variant": request.variant,
            "dataset": request.dataset,
            "beta": request.beta,
            **comparable(config),
        }
    )
    return [logger]


def csv_logger(request: RunRequest, config: Mapping[str, Any], wandb_id: str | None = None) -> list[Logger]:
    """Writes ``metrics.csv`` into the run's folder; a resumed run appends to it.

    Steps after the last checkpoint appear twice in a resumed run: the later rows are valid.
    """
    before = read_rows(request.folder / "metrics.csv")
    logger = CSVLogger(request.folder, name="", version="")
    with warnings.catch_warnings():
        # it warns because the folder contains Hydra's files; it deletes only an older metrics.csv
        warnings.filterwarnings("ignore", message="Experiment logs directory")
        writer = logger.experiment
    writer.metrics += [{key: value for key, value in row.items() if value} for row in before]
    return [logger]
