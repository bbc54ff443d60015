"""Train a model and measure it: data, model, trainer, fit, test, and what they say into the record."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint, ProgressBar
from pytorch_lightning.utilities.exceptions import SIGTERMException

from vaelab.data.datamodule import DataModule
from vaelab.errors import INTERRUPTED, TERMINATED, UserError
from vaelab.models.autoencoder import Autoencoder
from vaelab.runs.health import verdict
from vaelab.training.assembly import (
    build,
    build_autoencoder,
    build_data,
    build_metrics,
    run_context,
)
from vaelab.training.callbacks import Clock, LastCheckpoint, StopAfterSteps, progress
from vaelab.training.callbacks.history import scalars
from vaelab.training.checkpoints import WholeCheckpoints
from vaelab.training.loggers import running_logger, write_summary
from vaelab.training.module import LitAutoencoder, total_steps
from vaelab.training.threads import set_threads

log = logging.getLogger(__name__)

# Importing Lightning sets its logger to INFO: what devices there are, what products one may buy.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
# Training is logged at the end of every epoch too, so a short epoch loses nothing.
warnings.filterwarnings("ignore", message="The number of training batches .* is smaller than the logging")
# Lightning 2.6.6 calls a function that torch 2.13 has renamed.
warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).* is deprecated")


HALF = ("bf16-true", "16-true")  # precisions in which parameters and buffers are kept in 16 bits

STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


def train_and_measure(
    record: dict[str, Any],
    folder: Path,
    save: Callable[[], object],
    checkpoint: Path | None = None,
    before: Mapping[str, Any] | None = None,
    tell: Callable[..., object] | None = None,
    reserved: int | None = None,
) -> None:
    """Run the experiment that ``record["config"]`` describes; fill in the record and ``save`` it on the way.

    Everything that can be refused is refused before the first W&B run is made and the first step is taken.

    Args:
        checkpoint: what to go on from; None to start.
        before: the times of the sessions before (see :class:`~vaelab.training.callbacks.Clock`).
        tell: is told now and then how far the training is.
        reserved: the cores that a launcher keeps for this run.
    """
    cfg: DictConfig = OmegaConf.create(record["config"])
    set_threads(cfg.threads, reserved)
    data = build_data(cfg)
    if cfg.seed is not None:
        pl.seed_everything(cfg.seed, verbose=False)
    else:
        torch.seed()  # from the operating system: not what the job before has left behind
    lit = build_lit(cfg, data)
    # deterministic=True would also fill every new tensor before it is written: all of ours are written
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    clock = Clock(before, tell)
    validated = data.has_validation and cfg.trainer.limit_val_batches != 0
    if not validated:
        cfg.trainer.limit_val_batches = 0  # else Lightning warns of an empty loader
    callbacks = [clock, *build_callbacks(cfg, folder, validated)]
    if cfg.trainer.max_steps not in (None, -1):
        callbacks.insert(0, StopAfterSteps(cfg.trainer.max_steps))
        cfg.trainer.max_steps = -1
        cfg.trainer.max_epochs = -1 if cfg.trainer.max_epochs is None else cfg.trainer.max_epochs
    if not any(isinstance(callback, Checkpoint) for callback in callbacks):
        cfg.trainer.enable_checkpointing = False  # else Lightning makes one of its own, in a place of its own
    trainer: pl.Trainer = build(
        "trainer",
        cfg.trainer,
        callbacks=without_idle_hooks(callbacks),
        logger=False,
        default_root_dir=str(folder),
        plugins=[*(build("trainer.plugins", node) for node in cfg.trainer.plugins or ()), WholeCheckpoints()],
    )
    if trainer.max_epochs == -1:  # maybe without an end, which a schedule may need
        lit.set_total_steps(total_steps(trainer))
    record["data"] = describe(data)
    record["parameters"] = sum(p.numel() for p in lit.model.parameters())
    log.info("%s", headline(record))

    with running_logger(cfg, record, folder) as loggers:
        trainer.loggers = loggers
        save()
        with stops_as_exits(trainer), warnings.catch_warnings():
            # a run that goes on finds its own checkpoints there
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
            trainer.fit(lit, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        # nothing was logged if the run had been stopped after its last epoch
        train = scalars(trainer) or lit.logged
        record["weights"] = load_chosen_weights(trainer, lit, folder)
        if validated:
            with stops_as_exits(trainer):
                trainer.validate(lit, datamodule=data, verbose=False)
        with stops_as_exits(trainer):
            trainer.test(lit, datamodule=data, verbose=False)
        record["timing"] |= clock.report()
        train = {name: value for name, value in train.items() if name.startswith("train/")}
        record["metrics"] = train | held_out_metrics(lit)
        found = verdict(record["metrics"])
        record["verdict"] = None if found is None else found.as_dict()
        write_summary(loggers, record)


def build_lit(cfg: DictConfig, data: DataModule) -> LitAutoencoder:
    """The model of ``cfg`` for these data, its optimizer and metrics; what does not fit is refused.

    Its first weights are drawn from torch's random numbers.
    """
    context = run_context(cfg, data)
    model = build_autoencoder(cfg, context)
    model.likelihood.check(*data.value_range, levels=data.levels)
    check_precision(str(cfg.trainer.get("precision")), model)
    factor = cfg.model.get("lr_factor", 1.0)
    return LitAutoencoder(
        model,
        optimizer=build_optimizer(cfg),
        metrics=build_metrics(cfg, context),
        seed=cfg.seed,
        checkpoint_extra={
            "config": OmegaConf.to_container(cfg),
            "context": context.plain(),
        },
        lr_factor=build("model.lr_factor", factor) if OmegaConf.is_config(factor) else factor,
    )


def check_precision(precision: str, model: Autoencoder) -> None:
    """A UserError for moving averages in 8 or 11 bits: what a step adds would be rounded away."""
    averages = model.posterior.averaged or hasattr(model.prior, "after_step")
    if averages and precision in HALF:
        raise UserError(
            f"trainer.precision={precision} keeps the moving averages of codes too roughly for a step to "
            "move them. Use trainer.precision=bf16-mixed, or model=vq_vae with prior=uniform_codes."
        )


def build_optimizer(cfg: DictConfig) -> Callable[..., torch.optim.Optimizer]:
    """The optimizer's factory; built once on a dummy parameter, so that a wrong argument is refused now."""
    build("optimizer", cfg.optimizer, params=[torch.nn.Parameter(torch.zeros(1))])
    return lambda parameters: build("optimizer", cfg.optimizer, params=parameters)


@contextmanager
def stops_as_exits(trainer: pl.Trainer) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the process with the codes of shells, whatever Lightning was doing.

    Lightning turns the first into an exit of its own, and takes note of the second until the next epoch ends,
    which after training is never.
    """
    try:
        yield
    except SIGTERMException:
        raise SystemExit(TERMINATED) from None
    except SystemExit as stop:
        raise SystemExit(
            INTERRUPTED if isinstance(stop.__context__, KeyboardInterrupt) else stop.code
        ) from None
    if trainer.received_sigterm:
        raise SystemExit(TERMINATED)


def build_callbacks(cfg: DictConfig, folder: Path, validated: bool) -> list[pl.Callback]:
    """The callbacks of ``cfg.callbacks`` and a progress display.

    Checkpoints go to ``<run folder>/checkpoints``. Without a validation split there is no best checkpoint
    to choose, so callbacks that monitor a validation metric are left out.
    """
    callbacks: list[pl.Callback] = []
    for name, node in cfg.callbacks.items():
        if node is None:
            continue
        callback = build(f"callbacks.{name}", node)
        monitor = getattr(callback, "monitor", None)
        if not validated and monitor is not None and monitor.startswith("val/"):
            log.info("No validation images: callbacks.%s, which monitors %s, is left out.", name, monitor)
            continue
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
            callback.dirpath = str((folder / "checkpoints").absolute())
        callbacks.append(callback)
    if cfg.trainer.enable_progress_bar and not any(isinstance(c, ProgressBar) for c in callbacks):
        callbacks.append(progress())
    # what a run goes on from is written last: it holds what the others know of the epoch
    return sorted(callbacks, key=lambda callback: isinstance(callback, LastCheckpoint))


def without_idle_hooks(callbacks: list[pl.Callback]) -> list[pl.Callback]:
    """The same callbacks, spared the calls of a training step that they do nothing in.

    Lightning calls every hook of every callback, each within a profiler's context, unless it is not
    callable. A step has six of them; five callbacks that ignore all of them cost a small network 4 %.
    """
    for callback in callbacks:
        for hook in STEP_HOOKS:
            if getattr(type(callback), hook) is getattr(pl.Callback, hook):
                setattr(callback, hook, None)
    return callbacks


def load_chosen_weights(trainer: pl.Trainer, lit: LitAutoencoder, folder: Path) -> str:
    """Put the weights that are to be measured into the model: the best if there are any, else the last.

    ``checkpoints/last.ckpt`` exists after this in any case. Returns the file, relative to ``folder``.
    """
    last = folder / "checkpoints" / "last.ckpt"
    if not last.is_file():
        trainer.save_checkpoint(last)
    best = [
        Path(callback.best_model_path)
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path
    ]
    chosen = best[0] if best else last
    weights = torch.load(chosen, map_location="cpu", weights_only=True)["state_dict"]
    lit.load_state_dict(weights)
    return str(chosen.relative_to(folder)) if chosen.is_relative_to(folder) else str(chosen)


def held_out_metrics(lit: LitAutoencoder) -> dict[str, Any]:
    """``val/...`` and ``test/...`` of the weights that were measured; vectors as lists."""
    return {
        f"{split}/{name}": value.tolist()
        for split, results in lit.results.items()
        for name, value in results.items()
    }


def describe(data: DataModule) -> dict[str, Any]:
    """The data's shape and sizes, for the record."""
    return {
        "image_shape": list(data.image_shape),
        "value_range": list(data.value_range),
        "train": len(data.train),
        "val": len(data.val) if data.val is not None else 0,
        "test": len(data.test),
    }


def headline(record: dict[str, Any]) -> str:
    """One line: what is trained on what."""
    data = record["data"]
    shape = "x".join(map(str, data["image_shape"]))
    return (
        f"{record['variant']} with {record['parameters']:,} parameters on {record['dataset']} {shape}: "
        f"{data['train']:,} train, {data['val']:,} val, {data['test']:,} test images"
    )
