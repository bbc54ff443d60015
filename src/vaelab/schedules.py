"""Numbers that may change during training: step -> value.

A schedule is a module whose numbers are 0-dim buffers, so that runs which differ only in them stack
(:func:`torch.func.stack_module_state`). They are not part of the checkpoint: the config holds them.
"""

import math

import torch
from torch import Tensor, nn


class Constant(nn.Module):
    """The same value at every step."""

    value: Tensor

    def __init__(self, value: float) -> None:
        super().__init__()
        if not math.isfinite(value):
            raise ValueError(f"a weight must be a finite number, got {value}")
        self.register_buffer("value", torch.tensor(float(value)), persistent=False)

    def forward(self, step: int | Tensor) -> Tensor:
        return self.value


def as_schedule(value: float | nn.Module) -> nn.Module:
    """A plain number becomes a :class:`Constant`; a schedule stays what it is."""
    return value if isinstance(value, nn.Module) else Constant(value)
