"""A callback that stops a run at a given moment, once; named by `callbacks.stop._target_`."""

import os
import signal
from typing import Any, ClassVar

import pytorch_lightning as pl


class Stop(pl.Callback):
    """Raises KeyboardInterrupt, or sends SIGTERM to the process, the n-th time that `hook` is called.

    What to do is a variable of the class, not an argument: a run that is to go on must have its config.
    """

    hook: ClassVar[str | None] = None
    count: ClassVar[int] = 0
    sigterm: ClassVar[bool] = False

    @classmethod
    def at(cls, hook: str | None, count: int = 1, sigterm: bool = False) -> None:
        cls.hook, cls.count, cls.sigterm = hook, count, sigterm

    def _called(self, hook: str) -> None:
        cls = type(self)
        if cls.hook == hook:
            cls.count -= 1
            if cls.count == 0:
                cls.hook = None
                if not cls.sigterm:
                    raise KeyboardInterrupt
                os.kill(os.getpid(), signal.SIGTERM)

    def on_train_batch_start(self, *_: Any) -> None:
        self._called("train_batch_start")

    def on_train_batch_end(self, *_: Any) -> None:
        self._called("train_batch_end")

    def on_validation_batch_start(self, *_: Any) -> None:
        self._called("validation_batch_start")

    def on_train_epoch_end(self, *_: Any) -> None:
        self._called("train_epoch_end")

    def on_train_epoch_start(self, *_: Any) -> None:
        self._called("train_epoch_start")

    def on_test_batch_start(self, *_: Any) -> None:
        self._called("test_batch_start")


class UncompletedJobError(Exception):
    """What submitit raises in a job whose time is over: the job counts as interrupted, the sweep goes on."""

    __module__ = "submitit.core.utils"


class OutOfTime(pl.Callback):
    """While ``active``, ends every job of a sweep after its third training batch."""

    active: ClassVar[bool] = False

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if type(self).active and trainer.global_step == 3:
            raise UncompletedJobError("out of time")
