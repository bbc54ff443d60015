"""The history of a training run, kept with it whatever the logger."""

import csv
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from vaelab.runs.files import replacing

FILE_NAME = "history.csv"


class History(pl.Callback):
    """Writes ``history.csv``: step, epoch (from 0), every ``train/`` and ``val/`` scalar; a row per epoch.

    A number that is undefined is blank, and so is every ``val/`` number of an epoch without validation. A row
    is written when the next epoch begins or training ends, since ``train/...`` of an epoch is complete only
    then. A resumed run goes on in the same file and replaces the epochs that it trains again.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._epoch = -1  # the epoch that is being trained
        self._step = 0  # optimizer steps when this session began
        self._validated = -1  # the last epoch with a validation
        self._validation: dict[str, float] = {}  # what it found

    def on_train_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._read(trainer, lit)
        self._epoch = trainer.current_epoch  # a run that goes on within an epoch does not start it again
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
        if trainer.global_step > self._step:  # False if there was nothing left to train
            self._add(trainer, lit, self._epoch)

    def on_fit_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if self._epoch < 0:  # the run had been stopped after its last epoch, so training did not start
            self._read(trainer, lit)

    def _read(self, trainer: pl.Trainer, lit: Any) -> None:
        """Read the completed epochs; the last one may have ended with its checkpoint and without its row."""
        epochs = trainer.current_epoch
        before = read_rows(Path(trainer.default_root_dir) / FILE_NAME) if epochs else []
        self.rows = [row for row in before if int(row["epoch"]) < epochs]
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
    """The rows as text; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
