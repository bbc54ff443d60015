"""The end of a training that does not improve any more, never before its schedules have ended."""

import logging
import math
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping as LightningEarlyStopping

from vaelab.training.callbacks.steps import total_steps

__all__ = ["EarlyStopping"]

log = logging.getLogger(__name__)

OBJECTIVE = "val/objective"


class EarlyStopping(LightningEarlyStopping):
    """Ends the training after ``patience`` validations in a row without a lower ``val/objective``.

    It waits for schedules: validations before the step from which every schedule is constant count neither
    as better nor as worse, since a warm-up passes through other objectives. What happened is in
    ``stopped``, which the record keeps, and the state is in the checkpoint.

    Args:
        patience: validations without improvement that end the training.
        min_delta: nats per image; a value must be lower than the best by more to count as better.
    """

    def __init__(self, patience: int = 10, min_delta: float = 0.0) -> None:
        super().__init__(
            OBJECTIVE, min_delta, patience, mode="min", check_finite=False, check_on_train_epoch_end=False
        )
        self.best = self.last = {"epoch": 0, "step": 0}  # the validations of the best and the last value
        self.stopped: dict[str, Any] | None = None
        self.warned = False

    def on_train_start(self, trainer: pl.Trainer, lit: Any) -> None:
        self.stopped, self.warned = None, False
        if self.exhausted:  # the decision of the run that this one continues
            trainer.should_stop = True

    def on_train_epoch_start(self, trainer: pl.Trainer, lit: Any) -> None:
        """Warn; earlier the schedules do not know the length of the training."""
        ends, total = lit.last_steps(), total_steps(trainer)
        if ends and not self.warned and trainer.is_global_zero and (last := max(ends.values())) >= total:
            self.warned = True
            name = max(ends, key=lambda key: ends[key])
            end = f"ends at step {last:.0f}" if math.isfinite(last) else "never ends"
            log.warning(
                "callbacks.early_stopping can't stop this run: it waits for the schedule %s, which %s; the "
                "training has %.0f steps.",
                name, end, total,
            )  # fmt: skip

    def on_validation_end(self, trainer: pl.Trainer, lit: Any) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        last = max(lit.last_steps().values(), default=0.0)
        if trainer.global_step < last * (1 - 1e-6):  # shares are rounded
            return
        super().on_validation_end(trainer, lit)
        self.last = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        if self.wait_count == 0:
            self.best = self.last

    def on_train_end(self, trainer: pl.Trainer, lit: Any) -> None:
        if not self.exhausted:
            return
        better = f" by more than {-self.min_delta:g}" if self.min_delta else ""
        reason = (
            f"{OBJECTIVE} was not lower{better} in {self.wait_count} validations than in epoch "
            f"{self.best['epoch']}, {float(self.best_score):.6g}"
        )
        self.stopped = {"by": "early_stopping", **self.last, "reason": reason}
        if trainer.is_global_zero:
            log.info("The training ended in epoch %d: %s.", self.last["epoch"], reason)

    @property
    def exhausted(self) -> bool:
        """Whether the patience is."""
        return self.wait_count >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best": self.best, "last": self.last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.best, self.last = state_dict["best"], state_dict["last"]
