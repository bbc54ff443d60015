"""The training history of a run, written to its folder independently of the loggers."""

import csv
import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from vaelab.runs.files import replacing

__all__ = ["History", "read_rows"]

log = logging.getLogger(__name__)

FILE_NAME = "history.csv"


class History(pl.Callback):
    """Writes ``history.csv``: step, epoch (from 0), every ``train/`` and ``val/`` scalar; a row per epoch.

    An undefined number is blank, and so is every ``val/`` number of an epoch without validation. A row is
    written when the next epoch begins or the training ends, because only then ``train/...`` is complete. A
    resumed run continues the file and replaces the rows of the epochs that it repeats.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._epoch = -1  # the epoch that is being trained
        self._step = 0  # optimizer steps when this session began
        self._validated = -1  # the last epoch with a validation
        self._validation: dict[str, float] = {}  # the numbers of that validation

    def on_train_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._read(trainer, lit)
        self._epoch = (
            trainer.current_epoch
        )  # in a run that resumes within an epoch, on_train_epoch_start is not called
        self._step = trainer.global_step

    def on_validation_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            metrics = trainer.callback_metrics
            self._validated = trainer.current_epoch
            self._validation = {k: v.item() for k, v in metrics.items() if k.startswith("val/")}

    def on_train_epoch_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if trainer.current_epoch != self._epoch:
            self._add(trainer, lit, self._epoch)
            self._epoch = trainer.current_epoch

    def on_train_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if trainer.global_step > self._step:  # False if no step was left to train
            self._add(trainer, lit, self._epoch)

    def on_fit_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if (
            self._epoch < 0
        ):  # the earlier session ended after the last epoch, so on_train_start was not called
            self._read(trainer, lit)

    def _read(self, trainer: pl.Trainer, lit: Any) -> None:
        """Read the rows of completed epochs; add the last one if the session ended before writing it."""
        epochs = trainer.current_epoch
        file = Path(trainer.default_root_dir) / FILE_NAME
        try:
            before = read_rows(file) if epochs else []
            self.rows = [row for row in before if int(row["epoch"]) < epochs]
        except (csv.Error, ValueError, TypeError, KeyError) as error:
            aside = file.rename(f"{file}.damaged")
            log.warning("%s is damaged (%s) and is kept as %s; a new one begins.", file, error, aside.name)
        if epochs and all(int(row["epoch"]) != epochs - 1 for row in self.rows):
            self._add(trainer, lit, epochs - 1)

    def _add(self, trainer: pl.Trainer, lit: Any, epoch: int) -> None:
        values = lit.training_metrics() | (self._validation if epoch == self._validated else {})
        if trainer.is_global_zero and values:
            self.rows.append({"step": trainer.global_step, "epoch": epoch, **values})
            write_rows(Path(trainer.default_root_dir) / FILE_NAME, self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"validated": self._validated, "validation": self._validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validated, self._validation = state_dict["validated"], state_dict["validation"]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write all rows; columns in the order in which they first appear."""
    with (
        replacing(path, durable=False) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows, all values as text; an empty list if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
