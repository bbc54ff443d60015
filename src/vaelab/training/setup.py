"""Build the LightningModule, its optimizer and the callbacks of a run from its config."""

import logging
from collections.abc import Callable, Sequence

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint, ProgressBar

from vaelab.data.datamodule import DataModule
from vaelab.errors import UserError, did_you_mean, nearest
from vaelab.models import Autoencoder
from vaelab.runs.request import RunRequest
from vaelab.training.assembly import build, build_autoencoder, build_metrics, run_context
from vaelab.training.callbacks import LastCheckpoint, progress
from vaelab.training.measure import OBJECTIVE
from vaelab.training.module import LitAutoencoder
from vaelab.training.not_finite import scale_advice

__all__ = ["build_callbacks", "build_module", "build_optimizer", "check_monitors"]

log = logging.getLogger(__name__)

MONITORED = (OBJECTIVE, "val/elbo", "val/rate", "val/distortion", "val/active_units", "train/loss")
SEEN = 1000  # training images whose scale is looked at
FAR, SPREADS = 5.0, 30.0
FEW = 4  # images that tell which names a run logs


def build_module(cfg: DictConfig, data: DataModule) -> LitAutoencoder:
    """The LightningModule of ``cfg`` for these data. Weights are drawn from torch's global generator.

    Raises:
        UserError: the parts do not fit each other or the data.
    """
    context = run_context(cfg, data)
    model = build_autoencoder(cfg, context)
    check_labels(data, model)
    if (unfit := data_scale(data, model)) is not None:
        log.warning("%s", unfit)
    check_weights(cfg, model)
    factor = cfg.model.get("lr_factor", 1.0)
    return LitAutoencoder(
        model,
        optimizer=build_optimizer(cfg),
        metrics=build_metrics(cfg, context, model.posterior.number_of_codes, model.posterior.codebooks),
        seed=cfg.seed,
        checkpoint_extra={
            "config": OmegaConf.to_container(cfg),
            "context": context.plain(),
        },
        compile_mode=cfg.get("compile"),
        lr_factor=build("model.lr_factor", factor) if OmegaConf.is_config(factor) else factor,
    )


def check_labels(data: DataModule, model: Autoencoder) -> None:
    """Refuse labels that the condition does not know, as with fewer classes than the data have."""
    for part in (data.train, data.val, data.test):
        try:
            if part is not None:
                model.condition.check(part.y)
        except ValueError as error:
            raise UserError(f"model.condition: {error}.") from error


def data_scale(data: DataModule, model: Autoencoder) -> str | None:
    """A sentence if training images do not differ, or are far from what model and likelihood start from.

    Far: more than FAR from 0 in root mean square, where networks expect values near 1; or with a standard
    deviation that is more than SPREADS times the likelihood's, or a SPREADS-th of it.
    """
    x = torch.cat([batch.x for batch in data.training_sample(SEEN)]).double()
    spread, noise = x.std(correction=0).item(), model.likelihood.deviation()
    if len(x) > 1 and bool((x == x[:1]).all()):
        return "The training images are all the same: no code can tell them apart."
    low, high = data.value_range
    text = f"The images lie in [{low:g}, {high:g}], with a standard deviation of {spread:.3g}"
    if noise is not None and spread > 0 and not 1 / SPREADS < spread / noise < SPREADS:
        text += f"; that of the likelihood is {noise:.3g} ({type(model.likelihood).__name__})"
    elif x.square().mean().sqrt() <= FAR:
        return None
    return f"{text}. The training may diverge or ignore them. {scale_advice(data)}"


def check_weights(cfg: DictConfig, model: Autoencoder) -> None:
    """Refuse to choose the best weights by an objective that no validation image has by itself."""
    names = model.objective.batch_terms
    if names and cfg.model.get("weights", "best") == "best":
        terms = " and ".join(f"model.objective.{name}" for name in names)
        raise UserError(
            f"model.weights=best: no validation value of {terms}, a statistic of the batch or driven to a "
            "target, says which weights are best. Use model.weights=last."
        )


def build_optimizer(cfg: DictConfig) -> Callable[..., torch.optim.Optimizer]:
    """The optimizer's factory, called once on a dummy parameter so that a wrong argument raises now."""
    build("optimizer", cfg.optimizer, params=[torch.nn.Parameter(torch.zeros(1))])
    return lambda parameters: build("optimizer", cfg.optimizer, params=parameters)


def build_callbacks(cfg: DictConfig, request: RunRequest, validated: bool) -> list[pl.Callback]:
    """The callbacks of ``cfg.callbacks`` and a progress display.

    Checkpoints are written to ``<run folder>/checkpoints``. Callbacks that monitor a validation metric are
    left out if the run has no validation, and the one that keeps the best weights with
    ``model.weights=last``.

    Raises:
        UserError: a callback monitors what no run logs.
    """
    callbacks: list[pl.Callback] = []
    best = cfg.model.get("weights", "best") == "best"
    for name, node in cfg.callbacks.items():
        if node is None:
            continue
        callback = build(f"callbacks.{name}", node, offered={"alone": request.alone})
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and not str(monitor).startswith(("train/", "val/")):
            raise UserError(
                f"callbacks.{name}.monitor={monitor}: nothing is logged under this name. "
                f"Did you mean {nearest(str(monitor).replace('_', '/'), MONITORED) or OBJECTIVE!r}?"
            )
        if not validated and monitor is not None and monitor.startswith("val/"):
            log.info("No validation images: callbacks.%s, which monitors %s, is left out.", name, monitor)
            continue
        if isinstance(callback, ModelCheckpoint) and monitor == OBJECTIVE and not best:
            continue
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
            callback.dirpath = str((request.folder / "checkpoints").absolute())
        callbacks.append(callback)
    if cfg.trainer.enable_progress_bar and not any(isinstance(c, ProgressBar) for c in callbacks):
        callbacks.insert(0, progress(request))  # before those that draw, so that it says so
    # LastCheckpoint comes last, so that it stores the state of the other callbacks after the epoch
    return sorted(callbacks, key=lambda callback: isinstance(callback, LastCheckpoint))


def refuse_batch_terms(callbacks: Sequence[pl.Callback], model: Autoencoder) -> None:
    """Refuse a callback that compares values of an objective that no validation image has by itself."""
    names = model.objective.batch_terms
    for callback in callbacks:
        if names and getattr(callback, "monitor", None) == OBJECTIVE:
            terms = " and ".join(f"model.objective.{name}" for name in names)
            raise UserError(
                f"{type(callback).__name__} compares {OBJECTIVE}, but no validation value of {terms}, a "
                "statistic of the batch or driven to a target, says which is better. Leave it out: "
                "callbacks=default."
            )


def check_monitors(callbacks: Sequence[pl.Callback], module: LitAutoencoder, data: DataModule) -> None:
    """Refuse a callback that monitors what this run does not log.

    Callbacks of the user's own may log anything: beside one of them Lightning finds it out later.

    Raises:
        UserError: names the callback and the nearest name that is logged.
    """
    refuse_batch_terms(callbacks, module.model)
    packages = {type(callback).__module__.partition(".")[0] for callback in callbacks}
    monitors = {callback: getattr(callback, "monitor", None) for callback in callbacks}
    if not packages <= {"vaelab", "pytorch_lightning"} or not set(monitors.values()) - {None, OBJECTIVE}:
        return
    logged = module.logged_names(next(data.training_sample(FEW)))
    for callback, monitor in monitors.items():
        if monitor is not None and monitor not in logged:
            raise UserError(
                f"{type(callback).__name__}'s monitor={monitor}: this run logs nothing under this name. "
                f"{did_you_mean(str(monitor), logged)}"
            )
