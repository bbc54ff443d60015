"""Image grids of samples, reconstructions, traversals and interpolations."""

import logging
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from vaelab.figures import pictures
from vaelab.functional.images import to_float
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import codes_of
from vaelab.training.callbacks.publish import drawing, is_due, publish, publish_animation

__all__ = ["Samples"]

log = logging.getLogger(__name__)

EVERY = 10  # epochs between two drawings of a single run
RANGE_IMAGES = 256  # held-out images from which the ranges of traversals are estimated
MEAN_IMAGES = 2000  # held-out images from which the mean codes of classes are computed
MOST_DIMENSIONS = 64  # with more, fitting a mixture with full covariances takes too long for a picture


class Samples(pl.Callback):
    """Draws ``samples/prior``, ``reconstructions``, ``traversals``, ``mixture`` and ``explorer``.

    All are drawn with the tested weights, the last two after the test alone. The mixture is a Gaussian one,
    fitted to the codes of training images for at most MOST_DIMENSIONS latent dimensions; its samples are
    drawn beside samples of the prior.

    The inputs are the same in every run, and so is the noise from which z ~ p(z) is made in every run of the
    same latent size. "auto" is the first value that an argument names for a
    single run, and the second for a job of a sweep, whose report shows the pictures above.

    Args:
        every_n_epochs: epochs between two drawings during training; None for those after the test only.
            "auto": 10, None.
        images: the number of held-out images, random ones that are the same in every run.
        extras: draw ``interpolations`` (straight), ``interpolations_spherical`` too and, after the test,
            ``arithmetic``, if the data have labels or factors. "auto": True, False.
        animation: draw ``samples/traversals.gif`` after the test.
        mixture_images: training images to whose codes the mixture is fitted; 0 for no such picture.
        mixture_components: components of the mixture.
        explorer: draw the decodings on a grid over the most used dimensions, from which a report makes
            sliders; a model with a codebook has none.
        alone: whether the run is no job of a sweep.
    """

    def __init__(
        self,
        every_n_epochs: int | Literal["auto"] | None = "auto",
        images: int = 32,
        extras: bool | Literal["auto"] = "auto",
        animation: bool = False,
        mixture_images: int = 5000,
        mixture_components: int = 10,
        explorer: bool = True,
        alone: bool = True,
    ) -> None:
        self.every_n_epochs = (EVERY if alone else None) if every_n_epochs == "auto" else every_n_epochs
        self.images = images
        self.extras = alone if extras == "auto" else extras
        self.animation = animation
        self.mixture_images = mixture_images
        self.mixture_components = mixture_components
        self.explorer = explorer
        self._inputs: Tensor | None = None
        self._labels: Tensor | None = None

    def on_validation_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if is_due(trainer, self.every_n_epochs):
            self.draw(trainer, lit)

    def on_test_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self.draw(trainer, lit)
        self.draw_once(trainer, lit)

    def draw(self, trainer: pl.Trainer, lit: Any) -> None:
        """Draw the pictures that are also drawn during training."""
        if not trainer.is_global_zero:
            return
        model: Autoencoder = lit.measured_model
        limits = trainer.datamodule.value_range  # type: ignore[attr-defined]
        with drawing("samples"):
            x, y = self._held_out(trainer, lit)
            drawn = pictures.sample_grids(model, x, y, limits, self.images, self.extras)
            for name, picture in drawn.items():
                publish(trainer, f"samples/{name}", picture)

    def draw_once(self, trainer: pl.Trainer, lit: Any) -> None:
        """Draw the pictures that are drawn after the test only."""
        if not trainer.is_global_zero:
            return
        model: Autoencoder = lit.measured_model
        data = trainer.datamodule  # type: ignore[attr-defined]
        limits = data.value_range
        if self.animation:
            with drawing("samples/traversals.gif"):
                x, y = self._held_out(trainer, lit)
                moving = pictures.moving_traversals(model, x, y, limits)
                publish_animation(trainer, "samples/traversals", moving)
        if self.explorer:
            with drawing("samples/explorer"):
                explored = pictures.explorer(model, *self._held_out(trainer, lit), limits)
                if explored is not None:
                    publish(trainer, "samples/explorer", explored)
        if self.extras:
            with drawing("samples/arithmetic"):
                held_out = codes_of(model, data.held_out, MEAN_IMAGES)
                moved = pictures.arithmetic(model, held_out, data.factor_names, limits)
                if moved is not None:
                    publish(trainer, "samples/arithmetic", moved)
        if not self.mixture_images:
            return
        if model.latent_dim > MOST_DIMENSIONS:
            log.info("samples/mixture is not drawn for more than %d latent dimensions.", MOST_DIMENSIONS)
            return
        with drawing("samples/mixture"):
            codes = codes_of(model, data.train, self.mixture_images)
            drawn = pictures.mixture_samples(model, codes, limits, self.mixture_components)
            if drawn is not None:
                publish(trainer, "samples/mixture", drawn)

    def _held_out(self, trainer: pl.Trainer, lit: Any) -> tuple[Tensor, Tensor | None]:
        """The first held-out images and their labels, on the model's device."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if self._inputs is None:
            first = torch.arange(min(max(self.images, RANGE_IMAGES), len(data.held_out)))
            self._inputs = to_float(data.held_out.x[first])
            self._labels = None if data.held_out.y is None else data.held_out.y[first]
        y = None if self._labels is None else self._labels.to(lit.device)
        return self._inputs.to(lit.device), y
