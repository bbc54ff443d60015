"""Stop the training after a number of optimizer steps, and how many there are."""

from typing import Any

import pytorch_lightning as pl

__all__ = ["StopAfterSteps", "total_steps"]


class StopAfterSteps(pl.Callback):
    """Stops the training after ``steps`` optimizer steps; Lightning then validates.

    It replaces the Trainer's ``max_steps``, with which Lightning 2.6 counts an epoch twice when a run resumes
    from the checkpoint at the end of that epoch.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._check(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._check(trainer)

    def _check(self, trainer: pl.Trainer) -> None:
        if trainer.global_step >= self.steps:
            trainer.should_stop = True


def total_steps(trainer: pl.Trainer) -> float:
    """Optimizer steps of the whole training by the Trainer's limits; infinite if it has none."""
    limits = [callback.steps for callback in trainer.callbacks if isinstance(callback, StopAfterSteps)]  # type: ignore[attr-defined]
    steps = trainer.estimated_stepping_batches
    if not trainer.lightning_module.automatic_optimization and steps < float("inf"):
        loader: Any = trainer.train_dataloader  # each of its batches is several steps
        steps = steps // len(loader) * loader.batches
    return min([steps, *limits])
