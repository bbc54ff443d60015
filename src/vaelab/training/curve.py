"""The rate-distortion curve of a multi-rate model: what is measured of a run, at each of its betas."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Checkpoint, ProgressBar
from torch import Tensor

from vaelab.data.datamodule import DataModule
from vaelab.runs.curve import point_folder
from vaelab.runs.health import verdict
from vaelab.runs.request import RunRequest
from vaelab.training.callbacks import History
from vaelab.training.measure import held_out_metrics, measure, write_image_rates
from vaelab.training.module import LitAutoencoder
from vaelab.training.setup import build_callbacks
from vaelab.training.trainer import build_trainer

__all__ = ["measure_point"]


def measure_point(
    cfg: DictConfig,
    module: LitAutoencoder,
    data: DataModule,
    request: RunRequest,
    constant: Tensor,
    steps: Mapping[str, int],
    beta: float,
) -> dict[str, Any]:
    """The point of the curve at ``beta``: ``beta``, ``metrics``, ``verdict``, ``per_image``, as in a record.

    Its pictures and the numbers of each image are written into a folder of its own below the run's.

    Args:
        request: of the run. A point draws what a job of a sweep draws.
        constant: the distortion of the best constant image, for each test image.
        steps: how many optimizer steps were taken, as a metric.
    """
    own = request.folder / point_folder(beta)
    own.mkdir(parents=True, exist_ok=True)
    validated = data.has_validation and cfg.trainer.limit_val_batches != 0
    point = replace(request, folder=own, alone=False)
    chosen = [callback for callback in build_callbacks(cfg, point, validated) if draws(callback)]
    quiet = cfg.trainer.copy()
    quiet.enable_progress_bar = False  # otherwise Lightning adds its own
    trainer = build_trainer(quiet, chosen, own)
    module.beta = beta
    try:
        if validated:
            measure("val", trainer.validate, trainer, module, data)
        measure("test", trainer.test, trainer, module, data)
    finally:
        module.beta = None
    metrics = {**steps, **held_out_metrics(module)}
    health = verdict(metrics)
    return {
        "beta": beta,
        "metrics": metrics,
        "per_image": write_image_rates(module, own, constant),
        "verdict": None if health is None else health.as_dict(),
    }


def draws(callback: pl.Callback) -> bool:
    """Whether the callback does something after a test and nothing else that belongs to the training."""
    after_test = type(callback).on_test_end is not pl.Callback.on_test_end
    return after_test and not isinstance(callback, Checkpoint | ProgressBar | History)
