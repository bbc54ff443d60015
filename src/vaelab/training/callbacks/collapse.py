"""A warning of a collapsed posterior, which may end the training."""

import logging
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger

from vaelab.runs.health import COLLAPSED, Verdict, verdict

log = logging.getLogger(__name__)


class Collapse(pl.Callback):
    """Warns, once and with a W&B alert, when the posterior has collapsed; ``stop`` ends the training then.

    The verdict is :func:`vaelab.runs.health.verdict` of the validation images. Most trainings begin
    collapsed, so it has to hold for ``patience`` validations in a row. On the test images it is said at once.
    """

    def __init__(self, stop: bool = False, patience: int = 5) -> None:
        self.stop = stop
        self.patience = patience
        self.collapsed = 0  # validations in a row
        self.warned = False

    def on_validation_end(self, trainer: pl.Trainer, lit: Any) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        found = verdict_of(lit, "val")
        if found is None or found.label != COLLAPSED:
            self.collapsed = 0
            return
        self.collapsed += 1
        if self.collapsed < self.patience:
            return
        self.warn(trainer, found, f"for {self.collapsed} validations in a row")
        if self.stop and not trainer.should_stop:
            log.warning("The training ends in epoch %d (callbacks.collapse.stop).", trainer.current_epoch)
            trainer.should_stop = True

    def on_test_end(self, trainer: pl.Trainer, lit: Any) -> None:
        found = verdict_of(lit, "test")
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


def verdict_of(lit: Any, split: str) -> Verdict | None:
    """The verdict on what the metrics said last of a split."""
    results = lit.results.get(split, {})
    return verdict({f"{split}/{name}": value.tolist() for name, value in results.items()}, split)
