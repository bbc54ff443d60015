"""Train and measure one run."""

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import LambdaCallback

from vaelab.errors import UserError
from vaelab.runs.health import FEWEST, verdict
from vaelab.runs.request import Observer, RunRequest, RunResult, StartingPoint
from vaelab.training.assembly import build_data, memory_of_data
from vaelab.training.at_once import steps_at_once
from vaelab.training.callbacks import Clock
from vaelab.training.curve import measure_point
from vaelab.training.loggers import running_loggers, wandb_facts, write_summary
from vaelab.training.measure import (
    STEPS,
    constant_metrics,
    describe,
    headline,
    held_out_metrics,
    load_chosen_weights,
    measure,
    target_values,
    write_image_rates,
)
from vaelab.training.setup import build_callbacks, build_module, check_monitors
from vaelab.training.threads import batch_flops, is_small, set_threads
from vaelab.training.trainer import build_trainer, refusals, running

__all__ = ["fit"]

log = logging.getLogger(__name__)


def fit(
    config: Mapping[str, Any],
    request: RunRequest,
    start: StartingPoint | None = None,
    observer: Observer | None = None,
) -> RunResult:
    """Train the model that ``config`` describes, and measure it on validation and test images.

    Mistakes in the config or the data, Lightning's own refusals among them, raise before the W&B run starts
    and before the first step.

    Args:
        config: the resolved config of a run, as conf/train.yaml composes it.
        request: the folder and the name of the run.
        start: the checkpoint from which an interrupted run resumes; None for a fresh start.
        observer: receives facts about the data and the W&B run, and the progress of the training.

    Raises:
        UserError: parts do not fit each other or the data, or the loss is not finite.
        SystemExit: on Ctrl-C or SIGTERM, with exit code 130 or 143, as shells use.
    """
    cfg: DictConfig = OmegaConf.create(dict(config))
    start, observer = start or StartingPoint(), observer or Observer()
    set_threads(cfg.threads, request.cores)

    with memory_of_data(cfg):
        data = build_data(cfg)
        images = describe(data)
    validated = data.has_validation and cfg.trainer.limit_val_batches != 0
    if cfg.seed is None:
        torch.seed()  # an earlier job in this process may have seeded torch
    else:
        pl.seed_everything(cfg.seed, verbose=False)
    module = build_module(cfg, data)
    cfg.model.latent_dim = module.model.latent_dim  # of a map the data tell; loggers get it
    flops = batch_flops(module.model, data)
    if cfg.threads is None and is_small(flops):
        set_threads(1)
    clock = Clock(start.progress, observer.progress)
    callbacks = [clock, *build_callbacks(cfg, request, validated)]
    trainer = build_trainer(cfg.trainer, callbacks, request.folder)
    data.batches_at_once = steps_at_once(cfg, flops)

    if start.data_sha256 not in (None, images["sha256"]):
        raise UserError(
            f"The images are not those with which the run in {request.folder} began. Restore them, or use "
            "another sweep.name, or sweep.resume=false for a fresh folder."
        )
    parameters = sum(parameter.numel() for parameter in module.model.parameters())
    log.info("%s", headline(request, images, parameters))
    with memory_of_data(cfg):
        module.at_rate_zero, constant = constant_metrics(module, data)
    check_monitors(callbacks, module, data)
    with ExitStack() as until_the_end:

        @cache
        def begin() -> None:
            """Start the loggers, once Lightning has checked its settings too."""
            trainer.loggers = until_the_end.enter_context(running_loggers(cfg, request, start.wandb_id))
            observer.note(
                data=images,
                parameters=parameters,
                latent_dim=module.model.latent_dim,
                latent_shape=list(module.model.latent_shape),
                wandb=wandb_facts(trainer.loggers),
            )

        trainer.callbacks.insert(0, LambdaCallback(on_train_start=lambda *_: begin()))  # type: ignore[attr-defined]
        with running(trainer), refusals(trainer):
            trainer.fit(module, datamodule=data, ckpt_path=start.checkpoint, weights_only=True)
        begin()  # no step was left to train
        train = module.training_metrics()
        weights, weights_choice = load_chosen_weights(cfg.model.get("weights", "best"), trainer, module)
        if validated:
            measure("val", trainer.validate, trainer, module, data)
        measure("test", trainer.test, trainer, module, data)

        steps = {STEPS: trainer.global_step}
        metrics = train | steps | target_values(module, data) | held_out_metrics(module)
        health = verdict(metrics)
        if health is None:
            log.info(
                "No verdict: it needs at least %d test images, or their numbers are not measured.", FEWEST
            )
        per_image = write_image_rates(module, request.folder, constant)
        result = RunResult(
            data=images,
            parameters=parameters,
            weights=weights,
            weights_choice=weights_choice,
            timing=clock.report(),
            metrics=metrics,
            curve=[
                measure_point(cfg, module, data, request, constant, steps, beta)
                for beta in module.model.betas
            ]
            or None,
            stopped=next((stop for c in callbacks if (stop := getattr(c, "stopped", None))), None),
            per_image=per_image,
            verdict=None if health is None else health.as_dict(),
            wandb=wandb_facts(trainer.loggers),
        )
        write_summary(trainer.loggers, result)
    return result
