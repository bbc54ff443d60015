"""How a model is trained and measured: assembly from config, LightningModule, callbacks, loggers, fit.

This face is what YAML names: ``_target_: vaelab.training.History``.
"""

from vaelab.training.callbacks import Collapse, History, KLPictures, LastCheckpoint, LatentMap, Samples
from vaelab.training.loading import load
from vaelab.training.loggers import csv_logger, wandb_logger
from vaelab.training.module import LitAutoencoder

__all__ = [
    "Collapse",
    "History",
    "KLPictures",
    "LastCheckpoint",
    "LatentMap",
    "LitAutoencoder",
    "Samples",
    "csv_logger",
    "load",
    "wandb_logger",
]
