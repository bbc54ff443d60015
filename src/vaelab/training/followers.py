"""Updates without a gradient, such as moving averages, after each optimizer step."""

from typing import Any

import torch

from vaelab.models.autoencoder import Autoencoder, detached
from vaelab.types import AfterStep

__all__ = ["Followers"]


class Followers:
    """The ``parts`` of a model with a method ``after_step(batches, step)``, which changes buffers only.

    It gets q(z|x) of the step's batches (several if gradients accumulate) and an
    :class:`~vaelab.types.AfterStep`.
    """

    def __init__(self, model: Autoencoder) -> None:
        self.parts: list[Any] = [module for module in model.modules() if hasattr(module, "after_step")]
        self._batches: list[Any] = []  # q(z|x) of each batch since the last optimizer step

    def add(self, q: Any) -> None:
        """Keep q(z|x) of a batch for the coming update."""
        if self.parts:
            self._batches.append(detached(q))

    @torch.no_grad()
    def update(self, step: AfterStep) -> None:
        """Call the parts after an optimizer step."""
        for part in self.parts:
            part.after_step(self._batches, step)
        self._batches = []
