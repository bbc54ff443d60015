"""Training and measuring a model: assembly from config, LightningModule, callbacks, loggers, ``fit``.

YAML files name parts by this package: ``_target_: vaelab.training.History``.
"""

from vaelab.training.callbacks import (
    Collapse,
    EarlyStopping,
    History,
    KLPictures,
    LastCheckpoint,
    LatentMap,
    Samples,
)
from vaelab.training.loading import load
from vaelab.training.loggers import csv_logger, tensorboard_logger, wandb_logger
from vaelab.training.module import LitAutoencoder

__all__ = [
    "Collapse",
    "EarlyStopping",
    "History",
    "KLPictures",
    "LastCheckpoint",
    "LatentMap",
    "LitAutoencoder",
    "Samples",
    "csv_logger",
    "load",
    "tensorboard_logger",
    "wandb_logger",
]
