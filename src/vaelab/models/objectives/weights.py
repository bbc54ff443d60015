"""Weights that papers write as a sum: 1 - alpha, beta - 1."""

from collections.abc import Sequence

from torch import Tensor, nn

from vaelab.models.schedules import as_schedule

__all__ = ["WeightCombination"]


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
        total: Tensor = self.constant(step)
        for part in self.plus:
            total = total + part(step)
        for part in self.minus:
            total = total - part(step)
        return total
