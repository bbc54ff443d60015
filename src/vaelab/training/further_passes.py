"""Further passes over test images, until chance in z matters little to the test ELBO."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from vaelab.metrics import PerImage
from vaelab.types import Batch

__all__ = ["FurtherPasses"]

PILOT_IMAGES = 512  # the first of the split, whose order is random
PILOT_DRAWS = 8  # of z per image, at the least
MOST_DRAWS = 64
SHARE = 0.1  # of the ELBO's standard error over images, which its Monte Carlo error is to stay below
MARGIN = 1.2  # for what the pilot doesn't know


class FurtherPasses:
    """Passes over each test batch with other noise, whose statistics metrics average image by image.

    The ELBO of an image, averaged over P passes, has the Monte Carlo variance w / P, and it varies by v over
    images. The error of the mean over images that is due to chance in z is below SHARE of the whole if
    P > w / v / SHARE^2. A pilot over the split's first images, with the same noise, estimates w and v. P is
    at least 2, so that the Monte Carlo error can be known, and makes at most MOST_DRAWS draws; it is 1 for a
    deterministic posterior. Batches wait for the end of the pilot.

    Args:
        stats: (batch, number of the pass) -> the statistics of a pass over the batch, by name.
        metrics: those of them that are a :class:`~vaelab.metrics.PerImage` get the further passes.
        samples: draws of z per image in each pass.
        total: sums over all processes.
    """

    def __init__(
        self,
        stats: Callable[[Batch, int], dict[str, Any]],
        metrics: Iterable[Metric],
        samples: int,
        total: Callable[[Tensor], Tensor],
    ) -> None:
        self.stats = stats
        self.metrics = [metric for metric in metrics if isinstance(metric, PerImage)]
        self.samples = samples
        self.total = total
        self.passes: int | None = None  # of each batch, the first included; None during the pilot
        self._batches = 0
        self._waiting: list[tuple[int, Batch]] = []

    def add(self, batch: Batch, last: bool) -> None:
        """Make the further passes over a batch that has had the first one, now or at the end of the pilot."""
        self._waiting.append((self._batches, batch))
        self._batches += 1
        if self.passes is None:
            if not last and int(_position(batch).max()) < PILOT_IMAGES - 1:
                return
            self.passes = self._chosen()
        for place, waiting in self._waiting:
            for number in range(1, self.passes):
                stats = self.stats(waiting, number)
                for metric in self.metrics:
                    metric.refine(place, **stats)
        self._waiting = []

    def _chosen(self) -> int:
        """P, by the pilot over the batches that wait. Collective: each process calls it once."""
        if not self.metrics:
            return 1
        passes = max(2, -(-PILOT_DRAWS // self.samples))
        most = max(2, MOST_DRAWS // self.samples)
        parts = [self._pilot(batch, passes) for _, batch in self._waiting]
        sums = self.total(torch.tensor(parts, dtype=torch.float64).sum(0)).tolist()
        images, total, squares, within = sums
        if within <= 0:  # without an image, too
            return 1
        within /= images
        between = (squares - total**2 / images) / (images - 1) if images > 1 else math.nan
        between -= within / passes
        if not between > 0:
            return most
        needed = MARGIN * within / between / SHARE**2
        # rounding alone makes the numbers of a deterministic posterior differ on some devices
        return 1 if needed < 1e-6 else min(max(2, math.ceil(needed)), most)

    def _pilot(self, batch: Batch, passes: int) -> tuple[float, float, float, float]:
        """Sums over the batch's pilot images: their number, mean ELBO, its square, variance over passes."""
        rows = (_position(batch) < PILOT_IMAGES).nonzero()[:, 0]
        if not len(rows):
            return 0.0, 0.0, 0.0, 0.0
        chosen = Batch._make(None if part is None else part[rows] for part in batch)
        found = [_elbo(self.stats(chosen, number)) for number in range(passes)]
        values = torch.stack(found).cpu().double()
        mean = values.mean(0)
        return float(len(rows)), float(mean.sum()), float(mean.square().sum()), float(values.var(0).sum())


def _position(batch: Batch) -> Tensor:
    if batch.position is None:
        raise ValueError("held-out batches need the position of each image in its split")
    return batch.position


def _elbo(stats: dict[str, Any]) -> Tensor:
    """(B,); the negative distortion where the rate is undefined."""
    rate: Tensor = stats["rate"]
    return -(stats["distortion"].mean(0) + rate.nan_to_num(0.0))
