"""Lightning's Trainer: how it is made, and how it is called."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from vaelab.errors import INTERRUPTED, TERMINATED
from vaelab.training.assembly import build
from vaelab.training.callbacks import StopAfterSteps
from vaelab.training.checkpoints import AtomicCheckpointIO

__all__ = ["build_trainer", "running"]

# Importing Lightning sets its logger to INFO: what devices there are, what products one may buy.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)

IGNORED = (
    # training is logged at the end of every epoch too, so a short epoch loses nothing
    "The number of training batches .* is smaller than the logging",
    # Lightning 2.6.6 calls a function that torch 2.13 has renamed
    ".*isinstance\\(treespec, LeafSpec\\).* is deprecated",
    # a run that goes on finds its own checkpoints there
    "Checkpoint directory .* exists and is not empty",
    # a run without validation images has an empty list of validation loaders
    "Total length of `list` across ranks is zero",
)


def build_trainer(options: DictConfig, callbacks: Sequence[pl.Callback], folder: Path) -> pl.Trainer:
    """The Trainer of ``conf/trainer``, which writes into ``folder``; loggers are added later.

    ``max_steps`` is kept by :class:`StopAfterSteps`, and to ``plugins`` one is added that writes checkpoints
    atomically. Checkpointing is enabled if a callback writes checkpoints: Lightning would add one otherwise.
    """
    steps = options.max_steps not in (None, -1)
    trainer: pl.Trainer = build(
        "trainer",
        options,
        max_steps=-1,
        max_epochs=-1 if steps and options.max_epochs is None else options.max_epochs,
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        callbacks=[*([StopAfterSteps(options.max_steps)] if steps else []), *callbacks],
        plugins=[*(build("trainer.plugins", node) for node in options.plugins or ()), AtomicCheckpointIO()],
        logger=False,
        default_root_dir=str(folder),
    )
    return trainer


@contextmanager
def running(trainer: pl.Trainer) -> Iterator[None]:
    """A call of the trainer, which Ctrl-C and SIGTERM end with the exit codes that shells have for them.

    Lightning turns Ctrl-C into an exit of its own, and looks at SIGTERM when an epoch of training ends, which
    after training is never.
    """
    try:
        with warnings.catch_warnings():
            for message in IGNORED:
                warnings.filterwarnings("ignore", message=message)
            yield
    except SIGTERMException:
        raise SystemExit(TERMINATED) from None
    except SystemExit as stop:
        raise SystemExit(
            INTERRUPTED if isinstance(stop.__context__, KeyboardInterrupt) else stop.code
        ) from None
    if trainer.received_sigterm:
        raise SystemExit(TERMINATED)
