"""What a run is trained with, made from its config: the LightningModule, its optimizer, the callbacks."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint, ProgressBar

from vaelab.data.datamodule import DataModule
from vaelab.errors import UserError
from vaelab.models import Autoencoder, Codebook
from vaelab.training.assembly import build, build_autoencoder, build_metrics, run_context
from vaelab.training.callbacks import LastCheckpoint, progress
from vaelab.training.module import LitAutoencoder

__all__ = ["build_callbacks", "build_module", "build_optimizer"]

log = logging.getLogger(__name__)

HALF = ("bf16-true", "16-true")  # precisions in which parameters and buffers are kept in 16 bits


def build_module(cfg: DictConfig, data: DataModule) -> LitAutoencoder:
    """The model of ``cfg`` for these data, with its optimizer and metrics; its weights are drawn from torch.

    Raises:
        UserError: parts do not fit each other or the data.
    """
    context = run_context(cfg, data)
    model = build_autoencoder(cfg, context)
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
    """A UserError for moving averages in 8 or 11 bits, which would round away what a step adds."""
    posterior = model.posterior
    averaged = isinstance(posterior, Codebook) and "trainable codes" not in posterior.provides
    averages = averaged or hasattr(model.prior, "after_step")
    if averages and precision in HALF:
        raise UserError(
            f"trainer.precision={precision} keeps the moving averages of codes too roughly for a step to "
            "move them. Use trainer.precision=bf16-mixed, or model=vq_vae with prior=uniform_codes."
        )


def build_optimizer(cfg: DictConfig) -> Callable[..., torch.optim.Optimizer]:
    """The optimizer's factory; built once on a dummy parameter, so that a wrong argument is refused now."""
    build("optimizer", cfg.optimizer, params=[torch.nn.Parameter(torch.zeros(1))])
    return lambda parameters: build("optimizer", cfg.optimizer, params=parameters)


def build_callbacks(cfg: DictConfig, folder: Path, validated: bool) -> list[pl.Callback]:
    """The callbacks of ``cfg.callbacks`` and a progress display.

    Checkpoints go to ``<run folder>/checkpoints``. Without validation there is no best checkpoint to choose,
    so callbacks that monitor a validation metric are left out.
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
    # the checkpoint that a run goes on from is written last: it holds what the others know of the epoch
    return sorted(callbacks, key=lambda callback: isinstance(callback, LastCheckpoint))
