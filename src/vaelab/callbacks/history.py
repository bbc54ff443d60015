"""The history of a training run, kept with it whatever the logger."""

import csv
import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

FILE_NAME = "history.csv"


class History(pl.Callback):
    """Writes ``history.csv``: step, epoch (from 0), every ``train/`` and ``val/`` scalar; a row an epoch.

    Undefined numbers are blank. A row is written when the next epoch begins or training ends, since
    ``train/...`` of an epoch is complete only then; a killed run keeps every epoch that it finished. A
    resumed run goes on in the same file, in place of the epochs that it trains again.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._epoch = -1  # the epoch that is being trained

    def on_train_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        before = read_rows(Path(trainer.default_root_dir) / FILE_NAME) if trainer.current_epoch else []
        self.rows = [row for row in before if int(row["epoch"]) < trainer.current_epoch]
        self._epoch = -1

    def on_train_epoch_start(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._add(trainer)
        self._epoch = trainer.current_epoch

    def on_train_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self._add(trainer)

    def _add(self, trainer: pl.Trainer) -> None:
        values = {
            k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith(("train/", "val/"))
        }
        if trainer.is_global_zero and self._epoch >= 0 and values:
            self.rows.append({"step": trainer.global_step, "epoch": self._epoch, **values})
            write_rows(Path(trainer.default_root_dir) / FILE_NAME, self.rows)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """All rows, under a temporary name first; columns in the order in which they first appear."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows as text; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
