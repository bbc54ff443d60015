"""Callbacks of the Trainer. Metrics and :mod:`vaelab.figures` compute what they log and draw."""

from vaelab.training.callbacks.clock import Clock
from vaelab.training.callbacks.collapse import Collapse
from vaelab.training.callbacks.early_stopping import EarlyStopping
from vaelab.training.callbacks.history import History
from vaelab.training.callbacks.last import LastCheckpoint
from vaelab.training.callbacks.latent_map import LatentMap
from vaelab.training.callbacks.latents import KLPictures
from vaelab.training.callbacks.progress import progress
from vaelab.training.callbacks.samples import Samples
from vaelab.training.callbacks.steps import StopAfterSteps

__all__ = [
    "Clock",
    "Collapse",
    "EarlyStopping",
    "History",
    "KLPictures",
    "LastCheckpoint",
    "LatentMap",
    "Samples",
    "StopAfterSteps",
    "progress",
]
