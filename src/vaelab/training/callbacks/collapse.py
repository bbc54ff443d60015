"""A warning when the posterior or a group of it has collapsed, which may also end the training."""

import logging
from collections.abc import Collection
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger

from vaelab.runs.health import COLLAPSED, Verdict, verdict

__all__ = ["Collapse"]

log = logging.getLogger(__name__)


WHOLE = "The posterior"


class Collapse(pl.Callback):
    """Warns once, in the log and by a W&B alert, when the posterior or a group of a hierarchy has collapsed.

    The callback computes :func:`vaelab.runs.health.verdict` after each validation. Most trainings begin
    collapsed, so it warns after ``patience`` collapsed validations in a row; after the test it warns at once.
    A group has collapsed where the verdict's ``groups`` say so: none of its units is active. The warning
    names it, once for each group; while the posterior as a whole has collapsed, the warning is of that alone.

    Args:
        stop: whether the collapse of the posterior as a whole ends the training. That of a group never does:
            the others still describe the images.
        patience: collapsed validations in a row before the warning.
    """

    def __init__(self, stop: bool = False, patience: int = 5) -> None:
        self.stop = stop
        self.patience = patience
        self.in_a_row: dict[str, int] = {}  # collapsed validations of the posterior and of each group
        self.warned: list[str] = []  # of which of them
        self.stopped: dict[str, Any] | None = None

    def on_validation_end(self, trainer: pl.Trainer, lit: Any) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        found = collapsed(verdict_of(trainer, lit, "val"))
        self.in_a_row = {what: self.in_a_row.get(what, 0) + 1 for what in found}
        lasting = [what for what in found if self.in_a_row[what] >= self.patience]
        for what in reported(found):
            if what in lasting:
                self.warn(trainer, what, f"for {self.in_a_row[what]} validations in a row: {found[what]}")
        if self.stop and WHOLE in lasting and not trainer.should_stop:
            log.warning(
                "The training ends in epoch %d, because callbacks.collapse.stop is true.",
                trainer.current_epoch,
            )
            trainer.should_stop = True
            where = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
            self.stopped = {"by": "collapse", **where, "reason": found[WHOLE]}

    def on_test_end(self, trainer: pl.Trainer, lit: Any) -> None:
        found = collapsed(verdict_of(trainer, lit, "test"))
        for what in reported(found):
            self.warn(trainer, what, f"on test images: {found[what]}")

    def warn(self, trainer: pl.Trainer, what: str, when_and_why: str) -> None:
        if what in self.warned or not trainer.is_global_zero:
            return
        self.warned.append(what)
        text = f"{what} has collapsed {when_and_why}."
        log.warning("%s", text)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.alert(title="Posterior collapse", text=text, level="WARN")

    def state_dict(self) -> dict[str, Any]:
        return {"in_a_row": self.in_a_row, "warned": self.warned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.in_a_row, self.warned = dict(state_dict["in_a_row"]), list(state_dict["warned"])


def collapsed(found: Verdict | None) -> dict[str, str]:
    """What has collapsed by a verdict, and why: the posterior as a whole, groups of a hierarchy."""
    if found is None:
        return {}
    whole = {WHOLE: found.reason} if found.label == COLLAPSED else {}
    groups = [f"Group {group}" for group, label in enumerate(found.groups) if label == COLLAPSED]
    return whole | dict.fromkeys(groups, "it has no active unit")


def reported(found: Collection[str]) -> Collection[str]:
    """Of what has collapsed the posterior as a whole if it is among it, else the groups."""
    return [WHOLE] if WHOLE in found else found


def verdict_of(trainer: pl.Trainer, lit: Any, split: str) -> Verdict | None:
    """The verdict on the latest metrics of a split."""
    results = {f"{split}/{name}": value.tolist() for name, value in lit.results.get(split, {}).items()}
    return verdict({"train/steps": trainer.global_step, **results}, split)
