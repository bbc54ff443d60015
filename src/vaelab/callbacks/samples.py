"""Sample grids: what the model generates, reconstructs and interpolates."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from vaelab import generation
from vaelab.autoencoder import Autoencoder
from vaelab.callbacks.publish import publish
from vaelab.data.images import to_float
from vaelab.figures import image_grid


class Samples(pl.Callback):
    """Draws ``samples/prior``, ``reconstructions``, ``traversals`` and ``interpolations``.

    Every ``every_n_epochs`` epochs of training (null: never) and, from the weights that are tested, at the
    end. The inputs are the first ``images`` held-out images and the z are fixed: the same in every run.
    """

    def __init__(self, every_n_epochs: int | None = 10, images: int = 32) -> None:
        self.every_n_epochs = every_n_epochs
        self.images = images
        self._inputs: Tensor | None = None
        self._labels: Tensor | None = None  # of the inputs, where the data have labels

    def on_validation_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking or not self.every_n_epochs:
            return
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self.draw(trainer, lit)

    def on_test_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self.draw(trainer, lit)

    def draw(self, trainer: pl.Trainer, lit: Any) -> None:
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        if self._inputs is None:
            first = torch.arange(min(self.images, len(data.held_out)))
            self._inputs = to_float(data.held_out.x[first])
            self._labels = None if data.held_out.y is None else data.held_out.y[first]
        x, (low, high) = self._inputs.to(lit.device), data.value_range
        y = None if self._labels is None else self._labels.to(lit.device)
        model: Autoencoder = lit.model
        pictures = {
            "prior": generation.prior_samples(model),
            "reconstructions": generation.reconstructions(model, x, y),
            "traversals": generation.traversals(model, x, y=y),
            "interpolations": generation.interpolations(model, x, y=y),
        }
        for name, images in pictures.items():
            publish(trainer, f"samples/{name}", image_grid(images, low, high))
