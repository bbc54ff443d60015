"""The noise with which held-out images are measured."""

import torch
from torch import Tensor

from vaelab.functional.randomness import generator
from vaelab.types import Noise

__all__ = ["HeldOutNoise"]

SEED = 0  # not the run's seed: every run is measured with the same noise
BLOCK = 4096  # images for which noise is drawn at once


class HeldOutNoise:
    """Noise that is a function of the split and the image alone.

    It is the same in every epoch, every run and at every batch size, so that runs differ by their models and
    by nothing else. The first sample of the posterior and the prior's are the same for any ``samples``.

    Args:
        samples: S, samples of the posterior for each image.
        latent_dim: D.
    """

    def __init__(self, samples: int, latent_dim: int) -> None:
        self.samples, self.latent_dim = samples, latent_dim
        self._tables: dict[str, Tensor] = {}  # by split; they grow as images come

    def __call__(self, split: str, position: Tensor | None) -> Noise:
        """The noise of the images at ``position`` (B,) of a split: (S, B, D) and (B, D), on the CPU.

        Raises:
            ValueError: there are no positions.
        """
        if position is None:
            raise ValueError("held-out batches need the position of each image in its split")
        index = position.cpu()
        noises = 1 + self.samples
        table = self._tables.get(split, torch.empty(noises, 0, self.latent_dim))
        while table.shape[1] <= int(index.max()):
            random = generator(SEED, split, table.shape[1])
            table = torch.cat([table, torch.randn(noises, BLOCK, self.latent_dim, generator=random)], dim=1)
        self._tables[split] = table
        first, prior, *further = table[:, index]
        return Noise(torch.stack([first, *further]), prior)
