"""Runs of a question compared with each other and with a constant image: differences with their errors.

Of one seed the difference is paired over test images and has the standard error ``_se``; of several it is
paired over seeds, and has ``_half``, the half width of the 95% interval.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lecture_page.numbers import Seeds, mean_and_half
from vaelab.evaluation.trained_run import TrainedRun
from vaelab.reports.per_image import PerImage, read_per_image

Runs = Mapping[str, Seeds]
Array = NDArray[np.float64]


def constant(runs: Runs) -> dict[str, dict[str, Any]]:
    """``above_constant``: D + beta R of a run minus the distortion of the best constant image, at rate 0."""

    def above(run: TrainedRun) -> Array:
        images = per_image(run)
        assert images.constant is not None
        return cost(images, beta_of(run)) - images.constant

    return {key: difference("above_constant", [above(run) for run in seeds]) for key, seeds in runs.items()}


def betas(runs: Runs) -> dict[str, dict[str, Any]]:
    """Each run against the other betas.

    - ``own_lead``: the least D' + beta R' of the other runs minus the run's own D + beta R, with the run's
      beta in both. Positive: no other run is better at what this one minimises.
    - ``elbo_below_best``: the largest ELBO of all runs minus the run's; 0 for the best.
    """
    images = {key: [per_image(run) for run in seeds] for key, seeds in runs.items()}

    def costs(key: str, beta: float) -> list[Array]:
        return [cost(each, beta) for each in images[key]]

    def least(keys: Sequence[str], beta: float) -> str:
        return min(keys, key=lambda key: float(np.mean(costs(key, beta))))

    best, found = least(list(runs), 1.0), {}
    for key, seeds in runs.items():
        beta = beta_of(seeds[0])
        rival = least([other for other in runs if other != key], beta)
        found[key] = difference("own_lead", minus(costs(rival, beta), costs(key, beta)))
        found[key] |= difference("elbo_below_best", minus(costs(key, 1.0), costs(best, 1.0)))
    return found


def plain_vae(runs: Runs) -> dict[str, dict[str, Any]]:
    """``below_vae`` of ``<model>-<beta>``: D + beta R of ``vae-<beta>`` minus the run's, on test images.

    ``train_below_vae``: the same of the losses of the last epoch, which are D + beta R of training images
    for the VAE and the warm-up; there it has no meaning for other models.
    """
    found = {}
    for key, seeds in runs.items():
        *variation, _, weight = key.split("-")
        plain = runs["-".join([*variation, "vae", weight])]
        beta = beta_of(seeds[0])
        own, others = ([cost(per_image(run), beta) for run in part] for part in (seeds, plain))
        losses = [
            a.record["metrics"]["train/loss"] - b.record["metrics"]["train/loss"]
            for a, b in zip(plain, seeds, strict=True)
        ]
        found[key] = difference("below_vae", minus(others, own)) | mean_and_half("train_below_vae", losses)
    return found


COMPARISONS: dict[str, Callable[[Runs], dict[str, dict[str, Any]]]] = {
    "constant": constant,
    "betas": betas,
    "plain_vae": plain_vae,
}


def difference(name: str, differences: Sequence[Array]) -> dict[str, Any]:
    """The mean of (N,) differences of each seed, and its error."""
    if len(differences) > 1:
        return mean_and_half(name, [float(each.mean()) for each in differences])
    (only,) = differences
    return {name: float(only.mean()), f"{name}_se": float(only.std(ddof=1)) / len(only) ** 0.5}


def minus(first: Sequence[Array], second: Sequence[Array]) -> list[Array]:
    return [a - b for a, b in zip(first, second, strict=True)]


def per_image(run: TrainedRun) -> PerImage:
    images = read_per_image(run.folder)
    if images is None:
        raise SystemExit(f"{run.folder} holds no numbers of every image.")
    return images


def cost(images: PerImage, beta: float) -> Array:
    """D + beta R of every image, in an order that is the same for all runs of the data."""
    return images.distortion + beta * images.rate


def beta_of(run: TrainedRun) -> float:
    return float(run.record["config"]["model"]["beta"])
