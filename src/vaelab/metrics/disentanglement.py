"""Disentanglement during training."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from vaelab.functional.disentanglement import METRICS, as_classes, check_names, scores

__all__ = ["Disentanglement"]


class Disentanglement(Metric):
    """Metrics of :mod:`vaelab.functional.disentanglement` of the posterior means of the first images.

    By default those that take a fraction of a second; ``vaelab-evaluate`` measures the others after the
    training. All are NaN where the data have no factors, fewer than two dimensions or factors that vary, or
    codes that are not finite.

    Args:
        images: the largest number of images; in distributed runs, of each process.
        metrics: names among ``METRICS``.
        seed: of splits and draws.

    Raises:
        ValueError: a name is not a metric's.
    """

    full_state_update = False
    loc: list[Tensor] | Tensor
    factors: list[Tensor] | Tensor

    def __init__(
        self,
        images: int = 10_000,
        metrics: Iterable[str] = ("mig", "modularity", "irs", "factor_vae"),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.images = images
        self.metrics = check_names(metrics)
        self.seed = seed
        self.add_state("loc", [], dist_reduce_fx="cat")
        self.add_state("factors", [], dist_reduce_fx="cat")

    def update(self, loc: Tensor, factors: Tensor | None) -> None:
        """loc (B, D), the posterior means; factors (B, F), or None where the data have none."""
        assert isinstance(self.loc, list)
        assert isinstance(self.factors, list)
        free = self.images - sum(map(len, self.loc))
        if factors is not None and free > 0:
            self.loc.append(loc[:free].detach())
            self.factors.append(factors[:free])

    def compute(self) -> dict[str, Tensor]:
        values = dict.fromkeys((key for name in self.metrics for key in METRICS[name].names), math.nan)
        if len(self.loc):
            loc, factors = dim_zero_cat(self.loc), as_classes(dim_zero_cat(self.factors)).values
            if loc.isfinite().all() and loc.shape[1] > 1 and factors.shape[1] > 1 and len(loc) > 1:
                values |= scores(loc, factors, metrics=self.metrics, seed=self.seed)
        return {name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()}
