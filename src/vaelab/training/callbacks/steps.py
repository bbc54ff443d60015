"""An end of training by optimizer steps."""

from typing import Any

import pytorch_lightning as pl


class StopAfterSteps(pl.Callback):
    """Ends the training when it has taken ``steps`` optimizer steps, then validates.

    Takes the place of the Trainer's own ``max_steps``, with which Lightning 2.6 counts an epoch twice when
    a run goes on from a checkpoint of its end.
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
