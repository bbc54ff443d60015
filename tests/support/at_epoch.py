"""A callback that does something to the world in the middle of a run; named by `callbacks.at._target_`."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytorch_lightning as pl


class AtEpoch(pl.Callback):
    """Calls `action`, a variable of the class, once: when epoch `epoch` begins."""

    action: ClassVar[Callable[[], object] | None] = None
    epoch: ClassVar[int] = 1

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        cls = type(self)
        if cls.action is not None and trainer.current_epoch == cls.epoch:
            action, cls.action = cls.action, None
            action()
