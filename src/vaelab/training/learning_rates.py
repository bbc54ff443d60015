"""Learning rates: parameter groups with separate options, and a factor that may follow a schedule."""

from typing import Any

import torch
from torch import Tensor

from vaelab.models.schedules import as_schedule, last_steps, readings, set_total_steps

__all__ = ["LearningRates", "parameter_groups"]


class LearningRates:
    """Multiplies the learning rate of every parameter group by a factor.

    This is not a module, so that the factor stays on the CPU, where every step reads it.

    Args:
        factor: a number, or a schedule.
    """

    def __init__(self, factor: float | torch.nn.Module = 1.0) -> None:
        self._schedules = torch.nn.ModuleDict({"lr_factor": as_schedule(factor)})

    def factor(self, step: int) -> float:
        """The factor at an optimizer step."""
        return float(self._schedules["lr_factor"](step))

    def attach(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Store the initial learning rates, times a group's own ``lr_factor``; the factor multiplies them."""
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"] * group.get("lr_factor", 1.0)
        return optimizer

    def set(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set the learning rates of an optimizer step."""
        factor = self.factor(step)
        for group in optimizer.param_groups:
            group["lr"] = factor * group["initial_lr"]

    def set_total_steps(self, total: float) -> None:
        set_total_steps(self._schedules, total)

    def last_steps(self) -> dict[str, float]:
        """See :func:`~vaelab.models.schedules.last_steps`."""
        return last_steps(self._schedules)

    def readings(self, step: int) -> dict[str, Tensor]:
        """``lr_factor`` if it follows a schedule."""
        return readings(self._schedules, step)


def parameter_groups(model: torch.nn.Module) -> list[Any]:
    """The argument of an optimizer: a group for each module that has ``optimizer_options``, and the rest.

    The attribute, such as ``{"lr": 1e-2, "weight_decay": 0.0}``, applies to all parameters of the module and
    overrides the optimizer's settings; ``lr_factor`` multiplies its learning rate. Modules with equal options
    share a group.
    """
    groups: list[dict[str, Any]] = []
    for module in model.modules():
        options = getattr(module, "optimizer_options", None)
        if isinstance(options, dict) and options:
            alike = [g for g in groups if {k: v for k, v in g.items() if k != "params"} == options]
            if not alike:
                groups.append({"params": [], **options})
            (alike or groups)[-1]["params"] += module.parameters()
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in grouped]
    return [{"params": rest}, *groups] if groups else rest
