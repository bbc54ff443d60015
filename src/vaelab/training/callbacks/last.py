"""The checkpoint from which an interrupted run resumes."""

import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from vaelab.runs.resume import LAST

__all__ = ["LastCheckpoint"]

SYNC_EVERY = 50  # steps after which all ranks agree on whether to save


class LastCheckpoint(Checkpoint):
    """Writes ``checkpoints/last.ckpt`` at the end of epochs, at intervals within them, and on SIGTERM.

    A killed run loses only the steps since the checkpoint. The checkpoint is written between two optimizer
    steps, never between a step and a validation that is due, so that a resumed run repeats the uninterrupted
    one exactly. On SIGTERM, which a cluster sends before it preempts a job, the callback saves and stops the
    training.

    Args:
        every_n_epochs: n, to save at the end of every n-th epoch and of the last; 0 for the last only.
        every_minutes: the interval at which to save within an epoch; None for no such checkpoint.
    """

    def __init__(self, every_n_epochs: int = 1, every_minutes: float | None = 5.0) -> None:
        self.every_n_epochs = every_n_epochs
        self.every_minutes = every_minutes
        self._saved = time.monotonic()
        self._step = 0

    def on_train_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._saved, self._step = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        stepped = trainer.global_step != self._step  # False while gradients accumulate
        self._step = trainer.global_step
        if not stepped or trainer.is_last_batch or trainer.should_stop:  # on_train_epoch_end saves
            return
        if trainer.received_sigterm and not self._validation_is_due(trainer):
            self.save(trainer)
            if not self._dismiss_warning(trainer):
                raise SIGTERMException
        seconds = time.monotonic() - self._saved
        due = self.every_minutes is not None and seconds >= 60 * self.every_minutes
        if trainer.world_size > 1:  # all ranks must save together, so rank 0 decides for all
            due = self._step % SYNC_EVERY == 0 and trainer.strategy.broadcast(due)
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
        """Ignore a SIGTERM under submitit, and return whether submitit runs the job.

        There SIGTERM is SLURM's warning before a preemption. submitit requeues the job, unless it has ended.
        """
        by_submitit = "SUBMITIT_EXECUTOR" in os.environ
        if by_submitit:
            # private: Trainer.received_sigterm is a property without a setter (Lightning 2.6)
            trainer._signal_connector.received_sigterm = False
        return by_submitit

    def _validation_is_due(self, trainer: pl.Trainer) -> bool:
        every, loop = trainer.val_check_batch, trainer.fit_loop
        index = loop.batch_idx if trainer.check_val_every_n_epoch else loop.total_batch_idx
        return bool(trainer.enable_validation and every and (index + 1) % every == 0)
