"""The KL of a hierarchy, weighted and floored group by group."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vaelab.functional.measures import sums_by_group
from vaelab.models.objectives.objective import Term
from vaelab.models.schedules import as_schedule
from vaelab.types import LatentStats

__all__ = ["GroupKL"]


class GroupKL(Term):
    """sum_l beta_l KL_l, (B,) nats, with KL_l the KL of group l given the groups above it.

    Without ``group_beta`` and ``free_bits`` it is the rate, as :class:`~vaelab.models.objectives.KL`; its
    weight, beta, multiplies all groups alike. With ``free_bits`` the loss gets sum_l beta_l max(lambda_l,
    mean_n KL_nl): a group below its floor costs nothing and gets no gradient of the KL ("Improved Variational
    Inference with Inverse Autoregressive Flow", Kingma et al., 2016, arXiv:1606.04934, appendix C.8, where
    the groups are theirs too).

    Args:
        groups: the dimensions of each group.
        group_beta: a number or a schedule for each group.
        free_bits: lambda in nats per group: a number or a schedule, of all groups or for each.

    Raises:
        ValueError: not one number for each group, or a negative one. The command refuses schedules
            that are negative.
    """

    needs = frozenset({"density"})

    def __init__(
        self,
        groups: Sequence[int],
        weight: float | nn.Module = 1.0,
        group_beta: Sequence[float | nn.Module] | None = None,
        free_bits: float | nn.Module | Sequence[float | nn.Module] | None = None,
    ) -> None:
        super().__init__(weight)
        self.groups = list(groups)
        if isinstance(free_bits, float | int | nn.Module):
            free_bits = [free_bits] * len(groups)
        self.betas = self._of_groups("group_beta", group_beta)
        self.floors = self._of_groups("free_bits", free_bits)
        self.per_image = self.floors is None  # else the floor holds for the batch's mean
        if self.betas is not None or self.floors is not None:
            self.needs = frozenset({"density", "kl per dimension"})

    def _of_groups(self, name: str, values: Sequence[float | nn.Module] | None) -> nn.ModuleList | None:
        if values is None:
            return None
        if len(values) != len(self.groups):
            raise ValueError(
                f"{name} must have a number for each of the {len(self.groups)} groups, got {values}"
            )
        if any(not isinstance(value, nn.Module) and value < 0 for value in values):
            raise ValueError(f"{name} must be numbers >= 0, got {values}")
        return nn.ModuleList(map(as_schedule, values))

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        if self.betas is None:
            return stats.rate
        return (sums_by_group(stats.kl, self.groups) * at_step(self.betas, step)).sum(-1)

    def loss_value(self, value: Tensor, stats: LatentStats, step: int | Tensor) -> Tensor:
        if self.floors is None:
            return value
        floored = torch.maximum(sums_by_group(stats.kl, self.groups).mean(0), at_step(self.floors, step))
        return (floored if self.betas is None else floored * at_step(self.betas, step)).sum()


def at_step(schedules: nn.ModuleList, step: int | Tensor) -> Tensor:
    """The values of the schedules at a step, (G,)."""
    return torch.stack([schedule(step) for schedule in schedules])
