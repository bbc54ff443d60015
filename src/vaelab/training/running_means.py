"""Means over training steps that are summed on the device."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["RunningMeans"]


class RunningMeans:
    """The mean of the loss and of each term over the steps since the means were last taken.

    The sums stay on the device; taking the means costs one transfer.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._sums: Tensor | None = None
        self._names: list[str] = []

    def add(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Add a step's loss () and terms (each ())."""
        values = torch.stack([value.detach() for value in (loss, *terms.values())])
        self._sums = values if self._sums is None else self._sums.to(values.device) + values
        self._names = ["loss", *terms]
        self.steps += 1

    def take(self) -> dict[str, float]:
        """Return the means by name, empty if there was no step, and start new ones."""
        if self._sums is None:
            return {}
        means = (self._sums / self.steps).tolist()
        self._sums, self.steps = None, 0
        return dict(zip(self._names, means, strict=True))

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "sums": self._sums, "names": self._names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self._sums, self._names = state["steps"], state["sums"], list(state["names"])
