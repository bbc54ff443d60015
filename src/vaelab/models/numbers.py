"""Numbers of parts as 0-dim tensors, so that runs which differ only in them stack."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["check_groups", "check_whole", "register_number", "scalar"]

MOST_DIMENSIONS = 2**16  # of a hierarchy: with as many its dense layers take gigabytes


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


def check_groups(groups: Sequence[int], latent_dim: int) -> None:
    """Raise a ValueError unless ``groups`` are 2 to 4 whole numbers >= 1 with sum ``latent_dim`` <= 65,536.

    >>> check_groups([4, 4], 10)
    Traceback (most recent call last):
    ValueError: groups must sum to latent_dim=10, got [4, 4]: leave out latent_dim, which follows from them
    """
    whole = isinstance(groups, list | tuple) and all(type(size) is int and size >= 1 for size in groups)
    if not whole or not 2 <= len(groups) <= 4:
        raise ValueError(f"groups must be a list of 2 to 4 whole numbers >= 1, got {groups}")
    if sum(groups) > MOST_DIMENSIONS:
        raise ValueError(f"groups must sum to at most {MOST_DIMENSIONS:,}, got {list(groups)}")
    if sum(groups) != latent_dim:
        raise ValueError(
            f"groups must sum to latent_dim={latent_dim}, got {list(groups)}: leave out latent_dim, which "
            "follows from them"
        )
