"""The progress display of a run: one bar on a terminal, log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.progress import BarColumn, Progress, TextColumn

from vaelab.runs.request import RunRequest
from vaelab.runs.status import duration
from vaelab.training.callbacks.steps import total_steps

__all__ = ["progress"]

log = logging.getLogger(__name__)

SHOWN = {"train/loss": "loss", "val/elbo": "ELBO"}
STAGES = {"validate": "measuring", "test": "testing"}
EVERY = 0.1  # seconds between two drawings of the bar
LONGEST_NAME = 30


class Pace:
    """How far the training is by its optimizer steps, and how many seconds it still takes at this pace."""

    def __init__(self, trainer: pl.Trainer) -> None:
        self.total = total_steps(trainer)
        self.first = trainer.global_step  # a resumed run begins later
        self.began = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def left(self, trainer: pl.Trainer) -> float | None:
        """Seconds; None before the first step and without a limit of steps."""
        done = trainer.global_step - self.first
        if not done or self.total == float("inf"):
            return None
        return self.elapsed / done * max(0, self.total - trainer.global_step)


def numbers(trainer: pl.Trainer) -> dict[str, float]:
    """The latest loss and ELBO, where they are logged."""
    values = trainer.callback_metrics
    return {name: values[name].item() for name in SHOWN if name in values}


class RunBar(ProgressBar):
    """One bar for the whole run: the epoch, loss and ELBO, the remaining time; then what is measured.

    The bar disappears when the run ends, and a log line about the last epoch remains.

    Args:
        label: what stands before the bar.
        sweep_left: seconds that the sweep's other jobs still take; they are added to those of this run.
    """

    def __init__(self, label: str = "", sweep_left: float | None = None) -> None:
        super().__init__()
        self.label = label
        self.sweep_left = sweep_left
        self._enabled = True
        self._pace: Pace | None = None
        self._drawn = -float("inf")
        self._shown = ExitStack()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[text]}"),
            transient=True,
        )
        self._task = self._bar.add_task(label[:LONGEST_NAME], total=None, text="")

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)  # which disables the bar of every process but the first
        if self._enabled:
            self._shown.enter_context(shown(self._bar))
            self._update(text=STAGES.get(stage, "starting"))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._shown.close()

    def on_exception(self, trainer: pl.Trainer, lit: pl.LightningModule, exception: BaseException) -> None:
        self._shown.close()

    def on_train_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._pace = Pace(trainer)
        total = None if self._pace.total == float("inf") else self._pace.total
        self._update(total=total, completed=trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self._enabled and time.monotonic() - self._drawn >= EVERY:
            self._update(completed=trainer.global_step, text=self._text(trainer))

    def on_train_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if self._enabled:
            log.info("%s", line(trainer, trainer.current_epoch))
            self._update(completed=trainer.global_step, text="measuring")

    def on_test_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._update(text="pictures")  # those of the callbacks after this one

    def _text(self, trainer: pl.Trainer) -> str:
        values = [f"{SHOWN[name]} {value:.2f}" for name, value in numbers(trainer).items()]
        left = None if self._pace is None else self._pace.left(trainer)
        parts = [f"epoch {epoch_of(trainer, trainer.current_epoch + 1)}"]
        if left is not None:
            sweep = "" if self.sweep_left is None else f" (sweep {duration(left + self.sweep_left)})"
            parts.append(f"{duration(left)} left{sweep}")
        return "  ".join([*parts, *values])  # a narrow terminal cuts the end

    def _update(self, **values: Any) -> None:
        self._drawn = time.monotonic()
        self._bar.update(self._task, refresh=True, **values)


class EpochLines(ProgressBar):
    """Logs a line after the last epoch, and others before it at growing intervals.

    They come at the end of an epoch; within it, if it takes longer than the interval.

    Args:
        first: seconds until the first line. The next one comes after half of the time so far, at most
            ``longest`` seconds later.
    """

    def __init__(self, first: float = 2.0, longest: float = 300.0) -> None:
        super().__init__()
        self.first = first
        self.longest = longest
        self._enabled = True
        self._pace: Pace | None = None
        self._line = self._epoch = 0.0  # when the last line and the epoch began, in seconds of the training

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._pace = Pace(trainer)
        self._line = self._epoch = 0.0

    # not on_train_epoch_end: Lightning calls it on callbacks before the module logs the epoch's loss

    def on_train_epoch_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if trainer.current_epoch > 0 and self._is_due(self._line):
            self._log_line(trainer, trainer.current_epoch)
        self._epoch = self._elapsed

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if not trainer.is_last_batch and self._is_due(max(self._line, self._epoch)):
            self._log_line(trainer, trainer.current_epoch + 1)

    def on_train_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._log_line(trainer, trainer.current_epoch)

    @property
    def _elapsed(self) -> float:
        return 0.0 if self._pace is None else self._pace.elapsed

    def _is_due(self, since: float) -> bool:
        interval = min(self.longest, max(self.first, self._line / 2))
        return self._enabled and self._elapsed - since >= interval

    def _log_line(self, trainer: pl.Trainer, epoch: int) -> None:
        self._line = self._elapsed
        if self._enabled and epoch > 0:
            left = None if self._pace is None else self._pace.left(trainer)
            log.info("%s%s", line(trainer, epoch), f"  about {duration(left)} left" if left else "")


def line(trainer: pl.Trainer, epoch: int) -> str:
    """``epoch 3/30  train/loss 24.61  val/elbo -25.04``"""
    values = [f"{name} {value:.2f}" for name, value in numbers(trainer).items()]
    return "  ".join([f"epoch {epoch_of(trainer, epoch)}", *values])


def epoch_of(trainer: pl.Trainer, epoch: int) -> str:
    most = trainer.max_epochs
    return f"{epoch}/{most}" if most is not None and most > 0 else str(epoch)


@contextmanager
def shown(bar: Progress) -> Iterator[None]:
    """Show the bar in this block, with whatever is printed and logged meanwhile above it."""
    streams = sys.stdout, sys.stderr
    handlers = [
        (handler, handler.stream)
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream in streams
    ]
    with bar:
        # the bar stands in for the streams, of which handlers have a reference of their own
        for handler, stream in handlers:
            handler.setStream(sys.stdout if stream is streams[0] else sys.stderr)
        try:
            yield
        finally:
            for handler, stream in handlers:
                handler.setStream(stream)


def progress(request: RunRequest) -> ProgressBar:
    """A bar on a terminal and in a notebook that can show it; log lines elsewhere.

    Jobs that run side by side share a terminal, and log lines.
    """
    notebook = "ipykernel" in sys.modules and find_spec("ipywidgets") is not None
    if (sys.stdout.isatty() or notebook) and not request.beside:
        name = request.folder.name if request.job else request.name
        return RunBar(f"{request.job} {name}".strip(), request.sweep_left)
    return EpochLines()
