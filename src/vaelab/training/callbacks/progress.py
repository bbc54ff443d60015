"""The progress display: a bar on a terminal, log lines elsewhere."""

import logging
import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar, TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm

__all__ = ["progress"]

log = logging.getLogger(__name__)


class EpochBar(TQDMProgressBar):
    """Lightning's bar without bars for validation and test, which would flicker."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=10)

    def init_validation_tqdm(self) -> Any:
        return Tqdm(disable=True)

    init_test_tqdm = init_validation_tqdm

    def get_metrics(self, trainer: pl.Trainer, lit: pl.LightningModule) -> dict[str, Any]:
        shown = ("train/loss", "val/elbo")
        metrics = super().get_metrics(trainer, lit)
        return {name: value for name, value in metrics.items() if name in shown}


class EpochLines(ProgressBar):
    """Logs a line after the first epoch, after the last, and at most every ``seconds`` between them."""

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._last = -float("inf")

    def disable(self) -> None:
        self.seconds = float("inf")

    # not on_train_epoch_end: Lightning calls it on callbacks before the module logs the epoch's loss

    def on_train_epoch_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if trainer.current_epoch > 0 and time.monotonic() - self._last >= self.seconds:
            self._log_line(trainer, trainer.current_epoch)

    def on_train_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._log_line(trainer, trainer.current_epoch)

    def _log_line(self, trainer: pl.Trainer, epochs: int) -> None:
        self._last = time.monotonic()
        if trainer.is_global_zero and epochs > 0:
            values = trainer.callback_metrics
            shown = [f"{name} {values[name]:.2f}" for name in ("train/loss", "val/elbo") if name in values]
            log.info("epoch %d/%s  %s", epochs, trainer.max_epochs, "  ".join(shown))


def progress() -> ProgressBar:
    """A bar on a terminal and in a notebook, otherwise log lines."""
    return EpochBar() if sys.stdout.isatty() or "ipykernel" in sys.modules else EpochLines()
