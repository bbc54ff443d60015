"""Loggers whose failures cost a run nothing."""

import logging
from collections.abc import Callable
from typing import Any

from pytorch_lightning.loggers import Logger

from vaelab.errors import one_line

__all__ = ["failsafe"]

METHODS = (
    *("log_metrics", "log_hyperparams", "log_graph", "log_image", "log_video", "log_audio", "log_text"),
    *("after_save_checkpoint", "save", "finalize"),
)

log = logging.getLogger(__name__)


def failsafe(logger: Logger) -> Logger:
    """The same logger, whose methods log an error of their own in place of raising it.

    After the first one the logger gets nothing more. It keeps its class, by which callbacks know it.
    """
    state = State(type(logger).__name__)
    for name in METHODS:
        if callable(method := getattr(logger, name, None)):
            setattr(logger, name, Attempt(method, state))
    return logger


class State:
    """Whether the logger ``name`` has failed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failed = False


class Attempt:
    """A method of a logger that does not raise. A class, because strategies that spawn pickle loggers."""

    def __init__(self, method: Callable[..., Any], state: State) -> None:
        self.method = method
        self.state = state

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self.state.failed:
            return None
        try:
            return self.method(*args, **options)
        except Exception as error:
            self.state.failed = True
            text = f"{type(error).__name__}: {one_line(error).removeprefix(f'{type(error).__name__}: ')}"
            log.warning(
                "The logger %s failed and gets nothing more: %s", self.state.name, text, exc_info=error
            )
        return None
