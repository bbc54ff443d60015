"""Weights that papers write as a sum: 1 - alpha, beta - 1."""

from collections.abc import Sequence

from torch import Tensor, nn

from vaelab.models.schedules import as_schedule
from vaelab.types import LatentStats

__all__ = ["WeightCombination", "weight_of"]


class WeightCombination(nn.Module):
    """step -> constant + sum of ``plus`` - sum of ``minus``: each a number or a schedule."""

    def __init__(
        self,
        constant: float = 0.0,
        plus: Sequence[float | nn.Module] = (),
        minus: Sequence[float | nn.Module] = (),
    ) -> None:
        super().__init__()
        self.constant = as_schedule(constant)
        self.plus = nn.ModuleList(as_schedule(part) for part in plus)
        self.minus = nn.ModuleList(as_schedule(part) for part in minus)

    def forward(self, step: int | Tensor) -> Tensor:
        return self.of_images(step, None)

    def of_images(self, step: int | Tensor, stats: LatentStats | None) -> Tensor:
        total = weight_of(self.constant, step, stats)
        for part in self.plus:
            total = total + weight_of(part, step, stats)
        for part in self.minus:
            total = total - weight_of(part, step, stats)
        return total


def weight_of(weight: nn.Module, step: int | Tensor, stats: LatentStats | None) -> Tensor:
    """The weight at this step, (), or of each image its own, (B,), if it has a method ``of_images``."""
    of_images = getattr(weight, "of_images", None)
    value: Tensor = weight(step) if of_images is None or stats is None else of_images(step, stats)
    return value
