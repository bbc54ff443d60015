"""The checkpoint that an interrupted run goes on from."""

import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from vaelab.runs.resume import LAST

ASK_EVERY = 50  # steps between two questions to the other ranks


class LastCheckpoint(Checkpoint):
    """Writes ``checkpoints/last.ckpt``: at the end of epochs, by time within them, and when asked to stop.

    A run that is killed loses the steps since then and nothing else. It is written between two optimizer
    steps, never between a step and a validation that is due, so that the run goes on exactly. On SIGTERM,
    which a cluster sends before it takes its machine back, it is written and the training stops.

    Args:
        every_n_epochs: at the end of every n-th epoch, and of the last; 0 for the last alone.
        every_minutes: within an epoch when so much time has passed since it was written; null for never.
    """

    def __init__(self, every_n_epochs: int = 1, every_minutes: float | None = 5.0) -> None:
        self.every_n_epochs = every_n_epochs
        self.every_minutes = every_minutes
        self._saved = time.monotonic()
        self._step = 0

    def on_train_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._saved, self._step = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        stepped = trainer.global_step != self._step  # not so while gradients accumulate
        self._step = trainer.global_step
        if not stepped or trainer.is_last_batch or trainer.should_stop:  # the end of the epoch will do
            return
        if trainer.received_sigterm and not self._validation_is_due(trainer):
            self.save(trainer)
            if not self._dismiss_warning(trainer):
                raise SIGTERMException
        seconds = time.monotonic() - self._saved
        due = self.every_minutes is not None and seconds >= 60 * self.every_minutes
        if trainer.world_size > 1:  # all ranks save together: the first one's clock decides, now and then
            due = self._step % ASK_EVERY == 0 and trainer.strategy.broadcast(due)
        if due and not self._validation_is_due(trainer):
            self.save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        epochs = trainer.current_epoch + 1
        regular = self.every_n_epochs > 0 and epochs % self.every_n_epochs == 0
        if regular or epochs == trainer.max_epochs or trainer.received_sigterm:
            self.save(trainer)
        if trainer.received_sigterm:
            self._dismiss_warning(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / LAST)
        self._saved = time.monotonic()

    def _dismiss_warning(self, trainer: pl.Trainer) -> bool:
        """Dismiss a SIGTERM that is only SLURM's warning before a preemption, and tell whether it was one.

        submitit queues the job again after it, unless the job has ended by itself.
        """
        warned = "SUBMITIT_EXECUTOR" in os.environ
        if warned:
            trainer._signal_connector.received_sigterm = False
        return warned

    def _validation_is_due(self, trainer: pl.Trainer) -> bool:
        every, loop = trainer.val_check_batch, trainer.fit_loop
        index = loop.batch_idx if trainer.check_val_every_n_epoch else loop.total_batch_idx
        return bool(trainer.enable_validation and every and (index + 1) % every == 0)
