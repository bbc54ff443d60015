"""Two configurations compared: the difference of their distortion + beta * rate, and its error.

Two questions have two errors. Would training again with other seeds give the same sign? The seeds that both
configurations have in common tell, in pairs. Would other test images? The numbers of every image tell, in
pairs, for these weights alone.
"""

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from vaelab.reports.per_image import PerImage
from vaelab.reports.records import RecordedRun
from vaelab.reports.statistics import MeanDifference, Source, from_errors, paired, welch
from vaelab.reports.table import Row

__all__ = ["CONSTANT", "above_constant", "cost_difference"]

CONSTANT = "constant_distortion"  # of the best constant output of the decoder: rate 0


def cost_difference(
    first: Row, second: Row, split: str, beta: float = 1.0, source: Source = "seeds"
) -> MeanDifference | None:
    """D + beta R of ``first`` minus that of ``second``; at beta 1, by how much its ELBO is lower.

    By seeds (``source="seeds"``): paired where two or more are common, else Welch's where both have two or
    more. By images: of the seeds in common, or else of all, with the mean over seeds for each image. Where
    the preferred one is not possible it is the other. None if one of the two has no rate or no distortion.
    """
    runs = [run for run in first.runs if cost(run, split, beta) is not None]
    others = [run for run in second.runs if cost(run, split, beta) is not None]
    if not runs or not others:
        return None
    by_seed = {run.seed: run for run in others if run.seed is not None}
    common = [(run, by_seed[run.seed]) for run in runs if run.seed in by_seed]
    over_seeds: MeanDifference | None = None
    if len(common) > 1:
        over_seeds = paired(*(costs(side, split, beta) for side in zip(*common, strict=True)))
    elif len(runs) > 1 and len(others) > 1:
        over_seeds = welch(costs(runs, split, beta), costs(others, split, beta))
    if source == "seeds" and over_seeds:
        return over_seeds
    if common:
        runs, others = ([pair[side] for pair in common] for side in (0, 1))
    over_images = by_images(runs, others, split, beta)
    return over_seeds if over_seeds and over_images.error is None else over_images


def above_constant(row: Row, split: str, beta: float) -> MeanDifference | None:
    """D + beta R minus the distortion of the best constant image, which is the same for all runs of the data.

    The mean over seeds, with its error over images: in pairs, or else from the standard errors of the runs.
    Where the distortion of the constant image is known, but not of every image, its own error is left out.
    """
    runs, gaps = [], []
    for run in row.runs:
        value, constant = cost(run, split, beta), run.number(f"{split}/{CONSTANT}")
        if value is not None and constant is not None:
            runs.append(run)
            gaps.append(value - constant)
    if not runs:
        return None
    images = [run.images for run in runs if run.images is not None and run.images.constant is not None]
    if split == "test" and len(images) == len(runs):
        positions = common_positions(images)
        if len(positions) > 1:
            above = [cost_at(positions, each, beta) - constant_at(positions, each) for each in images]
            return over_pairs(np.mean(above, axis=0), f"paired over {len(positions)} {split} images")
    return MeanDifference(math.fsum(gaps) / len(gaps), mean_cost_error(runs, split, beta))


def by_images(
    first: Sequence[RecordedRun], second: Sequence[RecordedRun], split: str, beta: float
) -> MeanDifference:
    """Paired by image where all runs kept their numbers of every image; else from the standard errors."""
    images = [run.images for run in (*first, *second) if run.images is not None]
    if split == "test" and len(images) == len(first) + len(second):
        positions = common_positions(images)
        if len(positions) > 1:
            costs_a, costs_b = (
                np.mean([cost_at(positions, each, beta) for each in part], axis=0)
                for part in (images[: len(first)], images[len(first) :])
            )
            return over_pairs(costs_a - costs_b, f"paired over {len(positions)} {split} images")
    means = [math.fsum(costs(runs, split, beta)) / len(runs) for runs in (first, second)]
    errors = [mean_cost_error(runs, split, beta) for runs in (first, second)]
    return from_errors(means[0] - means[1], *errors)


def common_positions(images: Sequence[PerImage]) -> NDArray[np.int64]:
    """The positions, in ascending order, of the images that all of these have."""
    first = images[0].position
    if all(np.array_equal(first, each.position) for each in images[1:]):
        return first  # as a rule; the intersections of many runs would take a report's time
    return reduce(np.intersect1d, (each.position for each in images))


def over_pairs(differences: NDArray[np.float64], over: str) -> MeanDifference:
    """The mean of many differences; the normal distribution gives its interval."""
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return MeanDifference(float(differences.mean()), error, over=over)


def cost_at(positions: NDArray[np.int64], images: PerImage, beta: float) -> NDArray[np.float64]:
    """D + beta R of the images at these positions."""
    chosen = np.searchsorted(images.position, positions)
    return images.distortion[chosen] + beta * images.rate[chosen]


def constant_at(positions: NDArray[np.int64], images: PerImage) -> NDArray[np.float64]:
    """The distortion of the constant image at these positions."""
    assert images.constant is not None
    return images.constant[np.searchsorted(images.position, positions)]


def costs(runs: Sequence[RecordedRun], split: str, beta: float) -> list[float]:
    return [value for run in runs if (value := cost(run, split, beta)) is not None]


def cost(run: RecordedRun, split: str, beta: float) -> float | None:
    """D + beta R on the images of ``split``; None if the run has no such numbers."""
    if beta == 1 and run.finished:
        elbo = run.number(f"{split}/elbo")
        return None if elbo is None else -elbo
    rate, distortion = run.number(f"{split}/rate"), run.number(f"{split}/distortion")
    if not run.finished or distortion is None or (beta and rate is None):
        return None
    return distortion + beta * (rate or 0.0)


def mean_cost_error(runs: Sequence[RecordedRun], split: str, beta: float) -> float | None:
    """The standard error over images of the mean of D + beta R over runs on the same images; None if unknown.

    At most the mean of the runs' own: an image that is hard for one run may be hard for all.
    """
    known = [error for run in runs if (error := cost_error(run, split, beta)) is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(runs) else None


def cost_error(run: RecordedRun, split: str, beta: float) -> float | None:
    """The standard error over images of D + beta R.

    At beta 1 it is that of the ELBO. At another it is bounded from above by se(D) + beta se(R), for rate and
    distortion of one image are not independent.
    """
    if beta == 1:
        return run.number(f"{split}/elbo_se")
    of_rate, of_distortion = run.number(f"{split}/rate_se"), run.number(f"{split}/distortion_se")
    if of_distortion is None or (beta and of_rate is None):
        return None
    return of_distortion + beta * (of_rate or 0.0)
