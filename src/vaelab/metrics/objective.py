"""The value of what a variant minimises, over a data set."""

from functools import reduce

import torch
from torch import Tensor
from torchmetrics import Metric

from vaelab.functional.measures import RunningMoments, merge, moments

__all__ = ["Objective"]


class Objective(Metric):
    """``objective``: the mean over images of what the variant minimises, with its schedules at their ends.

    The best weights are those with the least ``val/objective``. ``objective_se`` is its standard error over
    images, sd / sqrt(N). In nats per image; NaN where the objective is a statistic of the batch or driven to
    a target (:meth:`~vaelab.models.Objective.per_image`).
    """

    full_state_update = True  # forward(): torchmetrics can't merge states without a reduction
    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self) -> None:
        super().__init__()
        # None: in distributed runs each state arrives stacked, one row per process, and compute merges them
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx=None)
        self.add_state("mean", torch.zeros(1), dist_reduce_fx=None)
        self.add_state("squares", torch.zeros(1), dist_reduce_fx=None)

    def update(self, objective: Tensor) -> None:
        """objective (B,)."""
        before = RunningMoments(self.count, self.mean, self.squares)
        self.count, self.mean, self.squares = merge(before, moments(objective.float()[:, None]))

    def compute(self) -> dict[str, Tensor]:
        states = (self.count, self.mean, self.squares)
        found = RunningMoments(*states)
        if self.mean.ndim > 1:
            found = reduce(merge, map(RunningMoments._make, zip(*states, strict=True)))
        error = (found.squares / (found.n - 1) / found.n).sqrt()  # NaN for a single image
        return {"objective": found.mean.squeeze(), "objective_se": error.squeeze()}
