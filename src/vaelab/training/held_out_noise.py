"""The noise used for held-out images."""

import torch
from torch import Tensor

from vaelab.functional.randomness import generator, normal_rows
from vaelab.types import Noise

__all__ = ["HeldOutNoise"]

SEED = 0  # fixed, so that every run is measured with the same noise
BLOCK = 4096  # images per draw


class HeldOutNoise:
    """Noise that depends only on the split and the position of the image in it.

    It is the same in every epoch, in every run and at every batch size, so that differences between runs are
    differences between models. The first posterior sample and the prior sample do not depend on ``samples``.

    Args:
        samples: S, posterior samples per image.
        latent_dim: D.
    """

    def __init__(self, samples: int, latent_dim: int) -> None:
        self.samples, self.latent_dim = samples, latent_dim
        self._tables: dict[str, Tensor] = {}  # by split; each grows with the largest position seen

    def __call__(self, split: str, position: Tensor | None) -> Noise:
        """The noise of the images at ``position`` (B,) of a split: (S, B, D) and (B, D), on the CPU.

        Raises:
            ValueError: ``position`` is None.
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

    def of_pass(self, number: int, split: str, position: Tensor) -> Noise:
        """The noise of pass ``number`` over the split: that of a call for 0, other noise for every other."""
        if not number:
            return self(split, position)
        index = position.cpu()
        first = int(index.min())
        width = (self.samples + 1) * self.latent_dim
        rows = normal_rows(first, int(index.max()) + 1, width, SEED, f"{split} passes", number)[index - first]
        prior, *posterior = rows.reshape(len(index), -1, self.latent_dim).unbind(1)
        return Noise(torch.stack(posterior), prior)
