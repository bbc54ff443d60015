"""A callback that lets the second process come late to the end of training; `callbacks.late._target_`."""

import time

import pytorch_lightning as pl


class Late(pl.Callback):
    """The second process waits so long, when training has ended, that the first one is far ahead of it."""

    SECONDS = 3.0

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_rank == 1:
            time.sleep(self.SECONDS)
