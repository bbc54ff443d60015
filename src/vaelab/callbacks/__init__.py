"""Callbacks render and log. What they show is computed by metrics and by :mod:`vaelab.generation`."""

from vaelab.callbacks.clock import Clock
from vaelab.callbacks.collapse import Collapse
from vaelab.callbacks.history import History
from vaelab.callbacks.last import LastCheckpoint
from vaelab.callbacks.latent_map import LatentMap
from vaelab.callbacks.latents import KLPictures
from vaelab.callbacks.progress import progress
from vaelab.callbacks.samples import Samples
from vaelab.callbacks.steps import StopAfterSteps

__all__ = [
    "Clock",
    "Collapse",
    "History",
    "KLPictures",
    "LastCheckpoint",
    "LatentMap",
    "Samples",
    "StopAfterSteps",
    "progress",
]
