"""Build and call Lightning's Trainer."""

import logging
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from vaelab.errors import INTERRUPTED, TERMINATED, Refusal, UserError, one_line
from vaelab.runs.resume import LAST
from vaelab.training.assembly import build
from vaelab.training.callbacks import StopAfterSteps
from vaelab.training.checkpoints import AtomicCheckpointIO
from vaelab.training.precision import check_mixed, own_precision

__all__ = ["build_trainer", "refusals", "running"]

# Lightning's import sets its logger to INFO, which prints devices and advertisements.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)

IGNORED = (
    # the module also logs at the end of every epoch, so a short epoch loses nothing
    "The number of training batches .* is smaller than the logging",
    # Lightning 2.6.6 calls a function that torch 2.13 renamed
    ".*isinstance\\(treespec, LeafSpec\\).* is deprecated",
    # in a resumed run, which finds its own checkpoints
    "Checkpoint directory .* exists and is not empty",
    # the loaders have a fixed order then (DataModule.train_dataloader)
    "You requested to overfit but enabled .* dataloader shuffling",
    # a run without validation images has an empty list of validation loaders
    "Total length of `list` across ranks is zero",
)

RESTORING = ("load_state_dict", "on_load_checkpoint")  # methods that get a part's state from a checkpoint


def build_trainer(options: DictConfig, callbacks: Sequence[pl.Callback], folder: Path) -> pl.Trainer:
    """The Trainer of ``conf/trainer``, which writes into ``folder``, without loggers.

    :class:`StopAfterSteps` implements ``max_steps``, and :class:`AtomicCheckpointIO` is added to ``plugins``,
    as is :class:`~vaelab.training.precision.HalfNetworks` for ``precision=bf16-true``.
    Checkpointing is enabled only if a callback writes checkpoints: otherwise Lightning would add one.
    """
    steps = options.max_steps not in (None, -1)
    precision = options.get("precision")
    own = own_precision(precision)
    plugins = [*(build("trainer.plugins", node) for node in options.plugins or ()), AtomicCheckpointIO()]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You passed .*precision='16-mixed'")  # check_mixed says it
        trainer: pl.Trainer = build(
            "trainer",
            options,
            precision=None if own else precision,
            max_steps=-1,
            max_epochs=-1 if steps and options.max_epochs is None else options.max_epochs,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            callbacks=[*([StopAfterSteps(options.max_steps)] if steps else []), *callbacks],
            plugins=[*plugins, *([own] if own else [])],
            logger=False,
            default_root_dir=str(folder),
        )
    check_mixed(precision, trainer)
    return trainer


@contextmanager
def refusals(trainer: pl.Trainer) -> Iterator[None]:
    """Turn what Lightning itself refuses in this block into a UserError: a mistake in the settings.

    An error is Lightning's if its own code raised it, and not that of a part which it calls. A part that
    can't take its state in the checkpoint refuses that: another version wrote it.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if trainer.ckpt_path and frame.f_code.co_name in RESTORING:
            part = type(frame.f_locals.get("self")).__name__
            raise Refusal(
                f"{LAST} is not of this version of vaelab: {part} can't take its state ({one_line(error)}). "
                "Continue the run with the version that began it, or begin one of another name."
            ) from error
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package not in ("pytorch_lightning", "lightning_fabric"):
            raise
        kind = UserError if trainer.global_step else Refusal
        raise kind(f"trainer: {' '.join(str(error).split())}") from error


@contextmanager
def running(trainer: pl.Trainer) -> Iterator[None]:
    """Call the trainer in this block, so that Ctrl-C and SIGTERM raise SystemExit with code 130 or 143.

    Lightning turns Ctrl-C into its own exit code, and handles SIGTERM only when an epoch of training ends.
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
