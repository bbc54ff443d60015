"""Numbers of parts as 0-dim tensors, so that runs which differ only in them stack."""

import math
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["check_whole", "register_number", "scalar"]


def scalar(
    name: str,
    value: Any,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> Tensor:
    """A finite number within bounds as a 0-dim tensor.

    >>> scalar("decay", 0.5, least=0, below=1)
    tensor(0.5000)

    Raises:
        ValueError: names ``name``, the bounds and the value.
    """
    fits = isinstance(value, int | float) and math.isfinite(value)
    if not fits or value < least or value <= above or value > most or value >= below:
        signs = {">=": least, ">": above, "<=": most, "<": below}
        bounds = " and ".join(f"{sign} {bound:g}" for sign, bound in signs.items() if math.isfinite(bound))
        shown = type(value).__name__ if isinstance(value, nn.Module) else value
        raise ValueError(f"{name} must be a finite number{bounds and ' ' + bounds}, got {shown}")
    return torch.tensor(float(value))


def check_whole(name: str, value: Any, least: int) -> None:
    """Raise a ValueError unless ``value`` is a whole number >= ``least``; true and 1.0 are not.

    >>> check_whole("components", 1.5, least=1)
    Traceback (most recent call last):
    ValueError: components must be a whole number >= 1, got 1.5
    """
    if type(value) is not int or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value}")


def register_number(module: nn.Module, name: str, value: Any, **bounds: float) -> None:
    """Give ``module`` the attribute ``name``, a :func:`scalar`: a buffer that is not part of checkpoints."""
    module.register_buffer(name, scalar(name, value, **bounds), persistent=False)
