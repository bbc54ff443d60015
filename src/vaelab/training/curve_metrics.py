"""The metrics of a multi-rate model at each of its betas, during the training."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from vaelab.metrics import ActiveUnits, Objective, RateDistortion
from vaelab.runs.curve import beta_name

__all__ = ["CurveMetrics"]

LIGHT = (RateDistortion, Objective, ActiveUnits)


class CurveMetrics(torch.nn.Module):
    """For each beta those metrics that cost little and that a rate-distortion curve is made of.

    Args:
        metrics: of which LIGHT are taken.
        betas: none of an ordinary model.
    """

    def __init__(self, metrics: MetricCollection, betas: Sequence[float]) -> None:
        super().__init__()
        self.betas = betas
        light: dict[str, Any] = {
            name: metric for name, metric in metrics.items() if isinstance(metric, LIGHT)
        }
        self.collections = torch.nn.ModuleList(
            MetricCollection(light, compute_groups=False).clone() for _ in betas
        )

    def each(self) -> list[MetricCollection]:
        """One collection for each beta."""
        return list(self.collections)  # type: ignore[arg-type]

    def named(self, results: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """``beta_0_5/rate`` and so on, of the results at each beta."""
        return {
            f"{beta_name(beta)}/{name}": value
            for beta, part in zip(self.betas, results, strict=True)
            for name, value in part.items()
        }


def mean_objective(results: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """``objective``: the mean over betas; empty without a curve."""
    values = [part["objective"] for part in results if "objective" in part]
    return {"objective": torch.stack(values).mean()} if values else {}
