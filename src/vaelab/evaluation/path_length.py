"""How evenly decoded images change along paths between codes of test images."""

from typing import Any

import torch
from torch import Tensor

from vaelab.evaluation.feature_networks import FeatureNetwork, feature_network
from vaelab.evaluation.trained_run import SEED, TrainedRun, mean_and_error, require
from vaelab.functional.interpolation import (
    detour,
    image_distance,
    longest_step,
    path_steps,
    perceptual_path_length,
)

__all__ = ["PathLength"]

CHUNK = 250  # pairs per pass
PATHS = {"linear": False, "spherical": True}  # whether the path is spherical
MEASURES = ("path_length", "detour", "longest_step")


class PathLength:
    """Lengths of paths in image space between the posterior means of held-out pairs (x_2i, x_2i+1).

    Metrics for straight ("linear") and spherical paths, each with its standard error over the pairs, from
    :mod:`vaelab.functional.interpolation`:

    - ``path_length_<path>``: mean perceptual path length;
    - ``detour_<path>``: mean path length over the distance of its ends, which compares models of different
      sharpness: an autoencoder, whose codes leave gaps, has a larger one than a VAE of the same networks;
    - ``longest_step_<path>``: mean longest step over the mean step; pairs that do not move are left out.

    A conditional model decodes a pair with the label of its first image.

    Args:
        pairs: the maximum number of pairs.
        steps: steps of each path for ``detour`` and ``longest_step``.
        features: where distances are measured: "pixels", or a feature network
            (:func:`~vaelab.evaluation.feature_networks.feature_network`).

    Raises:
        ValueError: no pair or no step.
    """

    def __init__(self, pairs: int = 1000, steps: int = 32, features: str | FeatureNetwork = "pixels") -> None:
        require(1, pairs=pairs, steps=steps)
        self.pairs, self.steps, self.features = pairs, steps, features

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        features = None if self.features == "pixels" else feature_network(run, self.features)
        codes = run.codes("test", 2 * self.pairs)
        n = len(codes.loc) // 2
        z1, z2 = codes.loc[0 : 2 * n : 2], codes.loc[1 : 2 * n : 2]
        y = None if codes.y is None else codes.y[0 : 2 * n : 2]
        columns: dict[str, list[Tensor]] = {f"{m}_{path}": [] for m in MEASURES for path in PATHS}
        starts = range(0, n, CHUNK)
        for start in run.progress(starts, "path length", total=len(starts)):
            part = slice(start, start + CHUNK)
            labels = None if y is None else y[part]
            for key, values in self._measure(run, z1[part], z2[part], labels, start, features).items():
                columns[key].append(values.cpu())
        metrics: dict[str, float] = {}
        for key, parts in columns.items():
            metrics |= mean_and_error(key, torch.cat([torch.empty(0), *parts]))
        return {
            "metrics": metrics,
            "protocol": {
                "path_length": "Karras et al. (2019), section 4.1, without LPIPS and without trimming",
                "spherical": "Shoemake (1985); White (2016)",
                "features": "pixels" if features is None else features.name,
                "pairs": n,
                "steps": self.steps,
                "split": "test",
            },
        }

    def _measure(
        self,
        run: TrainedRun,
        z1: Tensor,
        z2: Tensor,
        y: Tensor | None,
        start: int,
        features: FeatureNetwork | None,
    ) -> dict[str, Tensor]:
        z1, z2 = z1.to(run.device), z2.to(run.device)
        labels = None if y is None else y.to(run.device)

        def decode(z: Tensor) -> Tensor:
            return run.model.decode(z, labels)

        measured: dict[str, Tensor] = {}
        across = image_distance(decode, z1, z2, features)
        for path, spherical in PATHS.items():
            lengths = perceptual_path_length(decode, z1, z2, features, spherical, seed=SEED + start)
            steps = path_steps(decode, z1, z2, self.steps, features, spherical)
            measured |= {
                f"path_length_{path}": lengths,
                f"detour_{path}": detour(steps, across),
                f"longest_step_{path}": longest_step(steps),
            }
        return measured
