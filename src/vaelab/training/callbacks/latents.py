"""Pictures of the KL per latent dimension."""

from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor

from vaelab.figures.map_places import kl_of_channels, kl_of_places
from vaelab.figures.plots import DIMENSION, figure_image, kl_bars, kl_heatmap
from vaelab.figures.switching_off import kl_over_beta, switching_off
from vaelab.functional.images import to_float
from vaelab.training.callbacks.publish import drawing, publish

__all__ = ["KLPictures"]

CHANNEL = "channel"
IMAGES = 2000  # held-out ones, for the KL over beta


class KLPictures(pl.Callback):
    """Stores the KL per dimension of every validation, and draws it after the test.

    ``latents/kl_per_dim`` shows bars for the tested weights, ``latents/kl_over_training`` a heat map over
    epochs. The callback logs ``val/kl_histogram`` to W&B after each validation (bin = dimension, height =
    KL), which W&B draws as a heat map. ``latents/kl_over_beta`` of a multi-rate model shows how dimensions
    are switched off. Of latent maps ``latents/kl_map`` shows which places carry the nats, and all others
    show channels. A deterministic posterior has no KL, and no picture is drawn.

    Args:
        draw: whether to draw the pictures; "auto" for those of a single run, not of a job of a sweep, whose
            report shows the KL of all jobs.
        alone: whether the run is no job of a sweep.
    """

    def __init__(self, draw: bool | Literal["auto"] = "auto", alone: bool = True) -> None:
        self.draw = alone if draw == "auto" else draw
        self.epochs: list[int] = []
        self.history: list[list[float]] = []

    def on_validation_end(self, trainer: pl.Trainer, lit: Any) -> None:
        kl: Tensor | None = lit.results.get("val", {}).get("kl_per_dim")
        if trainer.state.fn != "fit" or trainer.sanity_checking or kl is None or kl.isnan().any():
            return
        self.epochs.append(trainer.current_epoch)
        self.history.append(kl.tolist())
        if not trainer.is_global_zero or len(kl) > 512:  # W&B accepts at most 512 bins
            return
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                import wandb

                bins = wandb.Histogram(np_histogram=(kl.numpy(), np.arange(len(kl) + 1)))
                logger.experiment.log({"val/kl_histogram": bins, "trainer/global_step": trainer.global_step})

    def on_test_end(self, trainer: pl.Trainer, lit: Any) -> None:
        if not trainer.is_global_zero:
            return
        if lit.model.multi_rate and lit.beta is None:  # at the run's test, not at those of its curve
            self._draw_over_beta(trainer, lit)
        if not self.draw:
            return
        kl: Tensor | None = lit.results.get("test", {}).get("kl_per_dim")
        shape, history = lit.model.latent_shape, torch.tensor(self.history)
        what = DIMENSION
        if kl is not None and len(shape) > 1:
            with drawing("latents/kl_map"):
                if not kl.isnan().any():
                    publish(trainer, "latents/kl_map", figure_image(kl_of_places(kl.reshape(shape))))
            what, kl = CHANNEL, kl_of_channels(kl.reshape(shape))
            history = kl_of_channels(history.reshape(-1, *shape))
        with drawing("latents/kl_per_dim"):
            if kl is not None and not kl.isnan().any():
                figure = kl_bars(kl, what=what, groups=lit.model.posterior.groups)
                publish(trainer, "latents/kl_per_dim", figure_image(figure))
        with drawing("latents/kl_over_training"):
            if len(history):
                figure = kl_heatmap(history, [epoch + 1 for epoch in self.epochs], what)
                publish(trainer, "latents/kl_over_training", figure_image(figure))

    def _draw_over_beta(self, trainer: pl.Trainer, lit: Any) -> None:
        """Draw ``latents/kl_over_beta``, which no report shows, of every multi-rate run."""
        with drawing("latents/kl_over_beta"):
            images = trainer.datamodule.held_out  # type: ignore[attr-defined]
            some = images.batch(torch.arange(min(IMAGES, len(images))))
            y = None if some.y is None else some.y.to(lit.device)
            over_beta = kl_over_beta(lit.model, to_float(some.x.to(lit.device)), y)
            what = DIMENSION if len(lit.model.latent_shape) == 1 else CHANNEL
            publish(trainer, "latents/kl_over_beta", figure_image(switching_off(*over_beta, what)))

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs, self.history = state_dict["epochs"], state_dict["history"]
