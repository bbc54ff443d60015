"""How long the training took, apart from validation and pictures."""

import time
from typing import Any

import pytorch_lightning as pl


class Clock(pl.Callback):
    """Times the fit as a whole and the training steps alone, and counts the images trained on.

    The steps' time begins with an epoch and ends with its last step: validation, checkpoints and pictures
    are not in it.
    """

    def __init__(self) -> None:
        self.fit_seconds = self.train_seconds = 0.0
        self.images = 0
        self._fit = 0.0
        self._mark: float | None = None

    def on_fit_start(self, *_: Any) -> None:
        self._fit = time.perf_counter()

    def on_fit_end(self, *_: Any) -> None:
        self.fit_seconds += time.perf_counter() - self._fit

    def on_train_epoch_start(self, *_: Any) -> None:
        self._mark = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, lit: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.images += len(batch.x) * trainer.world_size
        if trainer.is_last_batch:
            self._stop()

    def on_validation_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._stop()

    def on_validation_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.is_last_batch:  # in the middle of an epoch
            self._mark = time.perf_counter()

    def _stop(self) -> None:
        if self._mark is not None:
            self.train_seconds += time.perf_counter() - self._mark
            self._mark = None

    def report(self) -> dict[str, float | None]:
        """Seconds of the fit, seconds of its training steps, training images per second of those."""
        speed = self.images / self.train_seconds if self.train_seconds else None
        return {
            "fit_seconds": round(self.fit_seconds, 3),
            "train_seconds": round(self.train_seconds, 3),
            "images_per_second": None if speed is None else round(speed, 1),
        }
