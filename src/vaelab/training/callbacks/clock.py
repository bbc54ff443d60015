"""The duration of the fit and of its training steps, and the progress of the training."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl

from vaelab.runs.lock import SECONDS

__all__ = ["Clock"]


class Clock(pl.Callback):
    """Measures the time of the whole fit and of the training steps alone, and counts the training images.

    The time of the steps runs from the start of an epoch to its last step, so it excludes validation,
    checkpoints and pictures.

    Args:
        earlier: fit_seconds, train_seconds and images of the earlier sessions of a resumed run. Steps after
            the last checkpoint, which a resumed run repeats, count twice.
        on_progress: is called every few seconds and at the end of the fit with the items of :meth:`progress`.
    """

    def __init__(
        self, earlier: Mapping[str, Any] | None = None, on_progress: Callable[..., object] | None = None
    ) -> None:
        earlier = earlier or {}
        self.fit_seconds = float(earlier.get("fit_seconds", 0))
        self.train_seconds = float(earlier.get("train_seconds", 0))
        self.images = int(earlier.get("images", 0))
        self.on_progress = on_progress
        self.phase = "starting"
        self._fit: float | None = None
        self._mark: float | None = None
        self._reported = -float("inf")

    def on_fit_start(self, *_: Any) -> None:
        self._fit = time.perf_counter()
        self.phase = "training"

    def on_train_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        # here too: in a run that resumes within an epoch, on_train_epoch_start is not called
        self._mark = self._fit = time.perf_counter()  # the start of the loggers does not count

    def on_train_epoch_start(self, *_: Any) -> None:
        self._mark = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, lit: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        images = outputs.get("images", len(batch.x)) if isinstance(outputs, dict) else len(batch.x)
        self.images += images * trainer.world_size
        if trainer.is_last_batch:
            self._stop()
        self._report_if_due(trainer)

    def on_validation_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._stop()

    def on_validation_epoch_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._begin(trainer, "measuring")

    def on_test_epoch_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._begin(trainer, "testing")

    def on_test_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._begin(trainer, "pictures")  # those of the callbacks after this one

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._report_if_due(trainer)

    def on_test_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._report_if_due(trainer)

    def on_validation_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.is_last_batch:  # in the middle of an epoch
            self._mark = time.perf_counter()

    def on_fit_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._end_fit(trainer)

    def on_exception(self, trainer: pl.Trainer, lit: pl.LightningModule, exception: BaseException) -> None:
        self._end_fit(trainer)

    def _end_fit(self, trainer: pl.Trainer) -> None:
        self._stop()
        if self._fit is not None:
            self.fit_seconds += time.perf_counter() - self._fit
            self._fit = None
            self._report_progress(trainer)

    def _stop(self) -> None:
        if self._mark is not None:
            self.train_seconds += time.perf_counter() - self._mark
            self._mark = None

    def _begin(self, trainer: pl.Trainer, phase: str) -> None:
        self.phase = phase
        self._report_progress(trainer)

    def _report_if_due(self, trainer: pl.Trainer) -> None:
        if self.on_progress is not None and time.perf_counter() - self._reported >= SECONDS:
            self._report_progress(trainer)

    def _report_progress(self, trainer: pl.Trainer) -> None:
        self._reported = time.perf_counter()
        if self.on_progress is not None and trainer.is_global_zero:
            self.on_progress(**self.progress(trainer))

    def progress(self, trainer: pl.Trainer) -> dict[str, Any]:
        """The phase of the run, completed and maximum epochs, steps, and the seconds and images so far."""
        now = time.perf_counter()
        return {
            "phase": self.phase,
            "epoch": trainer.current_epoch,
            "max_epochs": trainer.max_epochs,
            "step": trainer.global_step,
            "fit_seconds": self.fit_seconds + (0 if self._fit is None else now - self._fit),
            "train_seconds": self.train_seconds + (0 if self._mark is None else now - self._mark),
            "images": self.images,
        }

    def report(self) -> dict[str, float | None]:
        """Seconds of the fit, seconds of its training steps, and training images per second of the latter."""
        speed = self.images / self.train_seconds if self.train_seconds else None
        return {
            "fit_seconds": round(self.fit_seconds, 3),
            "train_seconds": round(self.train_seconds, 3),
            "images_per_second": None if speed is None else round(speed, 1),
        }
