"""Where the held-out images lie in the latent space."""

from typing import Any

import pytorch_lightning as pl

from vaelab.figures import pictures
from vaelab.functional.projection import check_projection
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import codes_of
from vaelab.training.callbacks.publish import is_due, publish


class LatentMap(pl.Callback):
    """Draws ``latents/map``: held-out images' posterior means, coloured by their label and factors.

    With two latent dimensions the plane itself, and the circles of 1 and 2 standard deviations of N(0, I)
    where that is the prior; then also ``latents/manifold``, the images over a grid of z. Elsewhere a
    projection: "pca", or "umap" if that is installed.

    Every ``every_n_epochs`` epochs of training (null: never) and, from the weights that are tested, at the
    end; of the first ``images`` held-out images.
    """

    def __init__(
        self, every_n_epochs: int | None = None, images: int = 2000, projection: str = "pca"
    ) -> None:
        check_projection(projection)
        self.every_n_epochs = every_n_epochs
        self.images = images
        self.projection = projection

    def on_validation_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        if is_due(trainer, self.every_n_epochs):
            self.draw(trainer, lit)

    def on_test_end(self, trainer: pl.Trainer, lit: pl.LightningModule) -> None:
        self.draw(trainer, lit)

    def draw(self, trainer: pl.Trainer, lit: Any) -> None:
        if not trainer.is_global_zero:
            return
        model: Autoencoder = lit.model
        data = trainer.datamodule  # type: ignore[attr-defined]
        codes = codes_of(model, data.held_out, self.images)
        if not len(codes.loc):
            return
        picture = pictures.codes_map(model, codes, data.factor_names, self.projection)
        publish(trainer, "latents/map", picture)
        if (plane := pictures.manifold(model, codes, data.value_range)) is not None:
            publish(trainer, "latents/manifold", plane)
