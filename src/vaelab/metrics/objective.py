"""The value of what a variant minimises, over a data set."""

from typing import Any

from torch import Tensor

from vaelab.metrics.per_image import PerImage

__all__ = ["Objective"]


class Objective(PerImage):
    """``objective``: the mean over images of what the variant minimises, with its schedules at their ends.

    The best weights are those with the least ``val/objective``. ``objective_se`` is its standard error over
    images, sd / sqrt(N). In nats per image; NaN where the objective is a statistic of the batch or driven to
    a target (:meth:`~vaelab.models.Objective.per_image`).
    """

    def update(self, objective: Tensor, position: Tensor) -> None:
        """objective (B,), position (B,)."""
        self.add(position, objective[:, None])

    def refine(self, place: int, objective: Tensor, **_: Any) -> None:  # type: ignore[override]
        self.average(place, objective[:, None])

    def compute(self) -> dict[str, Tensor]:
        images = self.images()
        return {"objective": images.mean.mean(), "objective_se": images.standard_error.squeeze()}
