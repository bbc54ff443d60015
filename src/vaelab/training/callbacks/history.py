"""The history of a training run, kept with it whatever the logger."""

import csv
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from vaelab.runs.files import replacing

FILE_NAME = "history.csv"


class History(pl.Callback):
    """Writes ``history.csv``: step, epoch (from 0), every ``train/`` and ``val/`` scalar; a row an epoch.

    Undefined numbers are blank. A row is written when the next epoch begins or training ends, since
    ``train/...`` of an epoch is complete only then. A resumed run goes on in the same file, in place of the
    epochs that it trains again; the row of an epoch that ended with the checkpoint, and with nothing after
    it, comes from the checkpoint (:attr:`LitAutoencoder.logged`).
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._epoch = -1  # the epoch that is being trained
        self._step = 0  # optimizer steps when this session began

    def on_train_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._take_up(trainer, lit)
        self._epoch = trainer.current_epoch  # a run that goes on within an epoch does not start it again
        self._step = trainer.global_step

    def on_train_epoch_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if trainer.current_epoch != self._epoch:
            self._add(trainer, self._epoch, scalars(trainer))
            self._epoch = trainer.current_epoch

    def on_train_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if trainer.global_step > self._step:  # not so if there was nothing left to train
            self._add(trainer, self._epoch, scalars(trainer))

    def on_fit_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if self._epoch < 0:  # stopped after its last epoch: there was nothing left to train
            self._take_up(trainer, lit)

    def _take_up(self, trainer: pl.Trainer, lit: Any) -> None:
        epochs = trainer.current_epoch  # as many have been completed
        before = read_rows(Path(trainer.default_root_dir) / FILE_NAME) if epochs else []
        self.rows = [row for row in before if int(row["epoch"]) < epochs]
        if epochs and all(int(row["epoch"]) != epochs - 1 for row in self.rows):
            self._add(trainer, epochs - 1, lit.logged)

    def _add(self, trainer: pl.Trainer, epoch: int, values: dict[str, float]) -> None:
        if trainer.is_global_zero and values:
            self.rows.append({"step": trainer.global_step, "epoch": epoch, **values})
            write_rows(Path(trainer.default_root_dir) / FILE_NAME, self.rows)


def scalars(trainer: pl.Trainer) -> dict[str, float]:
    """What was logged last of training and validation."""
    return {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith(("train/", "val/"))}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """All rows; columns in the order in which they first appear."""
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
