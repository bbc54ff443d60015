"""Train a model and measure it: data, model, trainer, fit, test, and what they say into the record."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint, ProgressBar
from pytorch_lightning.loggers import Logger, WandbLogger

from vaelab.assembly import build, build_autoencoder, build_data, build_metrics
from vaelab.callbacks import Clock, progress
from vaelab.data.datamodule import DataModule
from vaelab.training import LitAutoencoder, named_scalars

log = logging.getLogger(__name__)

# Importing Lightning sets its logger to INFO: what devices there are, what products one may buy.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
# Training is logged at the end of every epoch too, so a short epoch loses nothing.
warnings.filterwarnings("ignore", message="The number of training batches .* is smaller than the logging")
# Lightning 2.6.6 calls a function that torch 2.13 has renamed.
warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).* is deprecated")


STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


def train_and_measure(record: dict[str, Any], folder: Path, save: Callable[[], object]) -> None:
    """Run the experiment that ``record["config"]`` describes; fill in the record and ``save`` it on the way.

    Everything that can be refused is refused before the first W&B run is made and the first step is taken.
    """
    cfg: DictConfig = OmegaConf.create(record["config"])
    data = build_data(cfg)
    if cfg.seed is not None:
        pl.seed_everything(cfg.seed, verbose=False)
    else:
        torch.seed()  # from the operating system: not what the job before has left behind
    model = build_autoencoder(cfg, data.image_shape)
    model.likelihood.check(*data.value_range)
    lit = LitAutoencoder(
        model,
        optimizer=build_optimizer(cfg),
        metrics=build_metrics(cfg),
        seed=cfg.seed,
        checkpoint_extra={"config": record["config"], "image_shape": list(data.image_shape)},
    )
    # deterministic=True would also fill every new tensor before it is written: all of ours are written
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    clock = Clock()
    validated = data.has_validation and cfg.trainer.limit_val_batches != 0
    if not validated:
        cfg.trainer.limit_val_batches = 0  # else Lightning warns of an empty loader
    callbacks = without_idle_hooks([*build_callbacks(cfg, folder, validated), clock])
    trainer: pl.Trainer = build(
        "trainer", cfg.trainer, callbacks=callbacks, logger=False, default_root_dir=str(folder)
    )
    record["data"] = describe(data)
    record["parameters"] = sum(p.numel() for p in model.parameters())
    log.info("%s", headline(record))

    with running_logger(cfg, record, folder) as loggers:
        trainer.loggers = loggers
        save()
        trainer.fit(lit, datamodule=data)
        train = {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("train/")}
        record["weights"] = load_chosen_weights(trainer, lit, folder)
        if validated:
            trainer.validate(lit, datamodule=data, verbose=False)
        trainer.test(lit, datamodule=data, verbose=False)
        record["timing"] |= clock.report()
        record["metrics"] = train | held_out_metrics(lit)
        write_summary(loggers, record)


def build_optimizer(cfg: DictConfig) -> Callable[..., torch.optim.Optimizer]:
    """The optimizer's factory; built once on a dummy parameter, so that a wrong argument is refused now."""
    build("optimizer", cfg.optimizer, params=[torch.nn.Parameter(torch.zeros(1))])
    return lambda parameters: build("optimizer", cfg.optimizer, params=parameters)


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
            callback.dirpath = str(folder / "checkpoints")
        callbacks.append(callback)
    if cfg.trainer.enable_progress_bar and not any(isinstance(c, ProgressBar) for c in callbacks):
        callbacks.append(progress())
    return callbacks


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


@contextmanager
def running_logger(cfg: DictConfig, record: dict[str, Any], folder: Path) -> Iterator[list[Logger]]:
    """The run's logger, and the end of its W&B run with the true exit code, whatever happens."""
    loggers: list[Logger] = []
    if cfg.logger:
        loggers = build("logger", cfg.logger, record=record, folder=folder)
    exit_code = 1
    try:
        yield loggers
        exit_code = 0
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=exit_code)


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


def write_summary(loggers: list[Logger], record: dict[str, Any]) -> None:
    """The final numbers into the W&B summary, by name: what the last step logged need not be the result."""
    scalars: dict[str, float] = {}
    for name, value in record["metrics"].items():
        split, _, rest = name.partition("/")
        for key, number in named_scalars({rest: torch.as_tensor(value)}).items():
            if number.isfinite():
                scalars[f"{split}/{key}"] = number.item()
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(
                {**scalars, "weights": record["weights"], "status": "finished", **record["timing"]}
            )


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
