"""How evenly images change along paths between held-out images' codes."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vaelab.evaluation.feature_networks import feature_network
from vaelab.evaluation.trained_run import TrainedRun
from vaelab.functional.interpolation import (
    detour,
    image_distance,
    longest_step,
    path_steps,
    perceptual_path_length,
)

CHUNK = 250  # pairs decoded at once
PATHS = {"linear": False, "spherical": True}  # is it spherical?
MEASURES = ("path_length", "detour", "longest_step")


class PathLength:
    """Perceptual path length and longest step between the posterior means of held-out pairs (x_2i, x_2i+1).

    Metrics, for straight ("linear") and spherical paths, each with its standard error over the pairs:

    - ``path_length_<path>``: the mean of :func:`~vaelab.functional.interpolation.perceptual_path_length`;
    - ``detour_<path>``: the mean of :func:`~vaelab.functional.interpolation.detour`, which compares models of unlike
      sharpness: an autoencoder, whose codes leave gaps, has a larger one than a VAE of the same networks;
    - ``longest_step_<path>``: the mean of :func:`~vaelab.functional.interpolation.longest_step`, pairs that do not move
      left out here and there.

    NaN for fewer than two pairs. A conditional model decodes a pair with its first image's label.

    Args:
        pairs: at most so many.
        steps: of each path for ``detour`` and ``longest_step``.
        features: what distances are measured in: "pixels", a kind of feature network
            (:func:`~vaelab.evaluation.feature_networks.feature_network`), or images -> features.
        epsilon: the step of the path length; None: by the precision.
    """

    def __init__(
        self,
        pairs: int = 1000,
        steps: int = 32,
        features: str | Callable[[Tensor], Tensor] = "pixels",
        epsilon: float | None = None,
        split: str = "test",
        seed: int = 0,
    ) -> None:
        self.pairs, self.steps, self.features = pairs, steps, features
        self.epsilon, self.split, self.seed = epsilon, split, seed

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        name, features = self._network(run)
        codes = run.codes(self.split, 2 * self.pairs)
        n = len(codes.loc) // 2
        z1, z2 = codes.loc[0 : 2 * n : 2], codes.loc[1 : 2 * n : 2]
        y = None if codes.y is None else codes.y[0 : 2 * n : 2]
        found: dict[str, list[Tensor]] = {}
        starts = range(0, n, CHUNK)
        for start in run.progress(starts, "interpolation", total=len(starts)):
            part = slice(start, start + CHUNK)
            labels = None if y is None else y[part]
            for key, values in self._measured(run, z1[part], z2[part], labels, start, features).items():
                found.setdefault(key, []).append(values)
        metrics: dict[str, float] = {}
        for key in (f"{measure}_{path}" for measure in MEASURES for path in PATHS):
            metrics |= mean_and_error(key, torch.cat(found[key]) if key in found else torch.empty(0))
        return {
            "metrics": metrics,
            "protocol": {
                "path_length": "Karras et al. (2019), section 4.1, without LPIPS and without trimming",
                "spherical": "Shoemake (1985); White (2016)",
                "features": name,
                "pairs": n,
                "steps": self.steps,
                "split": self.split,
            },
        }

    def _network(self, run: TrainedRun) -> tuple[str, Callable[[Tensor], Tensor] | None]:
        """The name of what distances are measured in, and the function; None: the pixels as they are."""
        if self.features == "pixels":
            return "pixels", None
        if isinstance(self.features, str):
            network = feature_network(run, self.features)
            return network.name, network
        return type(self.features).__name__, self.features

    def _measured(
        self,
        run: TrainedRun,
        z1: Tensor,
        z2: Tensor,
        y: Tensor | None,
        start: int,
        features: Callable[[Tensor], Tensor] | None,
    ) -> dict[str, Tensor]:
        device = run.device
        z1, z2 = z1.to(device), z2.to(device)
        labels = None if y is None else y.to(device)

        def decode(z: Tensor) -> Tensor:
            images: Tensor = run.model.decode(z, labels)
            return images

        measured: dict[str, Tensor] = {}
        across = image_distance(decode, z1, z2, features)
        for path, spherical in PATHS.items():
            lengths = perceptual_path_length(
                decode, z1, z2, features, spherical, self.epsilon, self.seed + start
            )
            moved = path_steps(decode, z1, z2, self.steps, features, spherical)
            measured |= {
                f"path_length_{path}": lengths.cpu(),
                f"detour_{path}": detour(moved, across).cpu(),
                f"longest_step_{path}": longest_step(moved).cpu(),
            }
        return measured


def mean_and_error(name: str, values: Tensor) -> dict[str, float]:
    """The mean and its standard error, of the values that are not NaN; NaN of fewer than two."""
    kept = values[~values.isnan()].double()
    if len(kept) < 2:
        return {name: math.nan, f"{name}_se": math.nan}
    error = kept.std() / len(kept) ** 0.5
    return {name: kept.mean().item(), f"{name}_se": error.item()}
