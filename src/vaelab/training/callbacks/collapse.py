"""A warning when the posterior has collapsed, which may also end the training."""

import logging
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger

from vaelab.runs.health import COLLAPSED, Verdict, verdict

__all__ = ["Collapse"]

log = logging.getLogger(__name__)


class Collapse(pl.Callback):
    """Warns once, in the log and by a W&B alert, when the posterior has collapsed.

    The callback computes :func:`vaelab.runs.health.verdict` after each validation. Most trainings begin
    collapsed, so it warns after ``patience`` collapsed validations in a row; after the test it warns at once.

    Args:
        stop: whether the warning ends the training.
        patience: collapsed validations in a row before the warning.
    """

    def __init__(self, stop: bool = False, patience: int = 5) -> None:
        self.stop = stop
        self.patience = patience
        self.collapsed = 0  # validations in a row
        self.warned = False
        self.stopped: dict[str, Any] | None = None

    def on_validation_end(self, trainer: pl.Trainer, lit: Any) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        found = verdict_of(trainer, lit, "val")
        if found is None or found.label != COLLAPSED:
            self.collapsed = 0
            return
        self.collapsed += 1
        if self.collapsed < self.patience:
            return
        self.warn(trainer, found, f"for {self.collapsed} validations in a row")
        if self.stop and not trainer.should_stop:
            log.warning(
                "The training ends in epoch %d, because callbacks.collapse.stop is true.",
                trainer.current_epoch,
            )
            trainer.should_stop = True
            where = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
            self.stopped = {"by": "collapse", **where, "reason": found.reason}

    def on_test_end(self, trainer: pl.Trainer, lit: Any) -> None:
        found = verdict_of(trainer, lit, "test")
        if found is not None and found.label == COLLAPSED:
            self.warn(trainer, found, "on test images")

    def warn(self, trainer: pl.Trainer, found: Verdict, when: str) -> None:
        if self.warned or not trainer.is_global_zero:
            return
        self.warned = True
        text = f"The posterior has collapsed {when}: {found.reason}."
        log.warning("%s", text)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.alert(title="Posterior collapse", text=text, level="WARN")

    def state_dict(self) -> dict[str, Any]:
        return {"collapsed": self.collapsed, "warned": self.warned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.collapsed, self.warned = state_dict["collapsed"], state_dict["warned"]


def verdict_of(trainer: pl.Trainer, lit: Any, split: str) -> Verdict | None:
    """The verdict on the latest metrics of a split."""
    results = {f"{split}/{name}": value.tolist() for name, value in lit.results.get(split, {}).items()}
    return verdict({"train/steps": trainer.global_step, **results}, split)
