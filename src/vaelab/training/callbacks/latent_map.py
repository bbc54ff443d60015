"""Maps of the latent space."""

from typing import Any

import pytorch_lightning as pl

from vaelab.figures import pictures
from vaelab.functional.projection import check_projection
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import codes_of
from vaelab.training.callbacks.publish import drawing, is_due, publish

__all__ = ["LatentMap"]


class LatentMap(pl.Callback):
    """Draws ``latents/map``: the posterior means of held-out images, coloured by label and factors.

    Two latent dimensions are drawn as they are, with circles at 1 and 2 standard deviations if the prior is
    N(0, I), and the callback also draws ``latents/manifold``, the decoded images over a grid of z. More
    dimensions are projected to two.

    Args:
        every_n_epochs: epochs between two drawings during training; None for the drawing after the test only.
        images: the number of held-out images, random ones that are the same in every run.
        projection: "pca", or "umap" if umap-learn is installed.

    Raises:
        ValueError: an unknown projection, or umap-learn is missing.
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
        model: Autoencoder = lit.measured_model
        data = trainer.datamodule  # type: ignore[attr-defined]
        with drawing("latents/map"):
            codes = codes_of(model, data.held_out, self.images)
            if not len(codes.loc):
                return
            picture = pictures.codes_map(model, codes, data.factor_names, self.projection)
            publish(trainer, "latents/map", picture)
            if (plane := pictures.manifold(model, codes, data.value_range)) is not None:
                publish(trainer, "latents/manifold", plane)
