"""Precision and recall, density and coverage: does each sample look real, is each real image reached?

The support of a set of features is estimated by the union of balls around its members, with the distance to
the member's k-th nearest neighbour in the set as the radius. Numbers depend on the feature network, on k and
on the number of images. Distances are computed in chunks to bound memory.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.functional.distributions import Values
from vaelab.functional.estimators import squared_distances
from vaelab.functional.frechet import features

__all__ = ["Support", "expected_coverage", "squared_radii", "support"]

CHUNK = 2**22  # distances at once: 32 MB


class Support(NamedTuple):
    """How the supports of samples and reference overlap; NaN where a set has no k others."""

    precision: float
    recall: float
    density: float
    coverage: float


def squared_radii(x: Tensor, ks: Sequence[int]) -> Tensor:
    """Squared distances of each member to its k-th nearest neighbour among the others: (N, d) -> (N, K).

    A column for each of K ks. NaN where a set has no k others.
    """
    others = len(x) - 1
    nearest = min(max(ks), others)
    parts = []
    for part in torch.arange(len(x)).split(_rows(x)):
        distances = squared_distances(x[part], x)
        distances[torch.arange(len(part)), part] = torch.inf
        parts.append(distances.topk(nearest, dim=1, largest=False).values)
    ordered = torch.cat(parts)
    return torch.stack(
        [ordered[:, k - 1] if k <= others else x.new_full((len(x),), torch.nan) for k in ks], dim=1
    )


def support(reference: Values, samples: Values, k: int = 3, k_density: int = 5) -> Support:
    """Precision and recall with k, density and coverage with k_density: features (N, d) and (N, d).

    - precision: the share of the samples that lie in a ball of the reference; recall: the share of the
      reference that lies in a ball of the samples. In [0, 1].
    - density: 1/(k N) sum_j #{balls of the reference that contain sample j}: 1 in expectation where both
      sets have one distribution, more where the samples crowd. Coverage: the share of the reference's
      balls that contain a sample, in [0, 1]; :func:`expected_coverage` is that of a perfect model.

    "Improved Precision and Recall Metric for Assessing Generative Models" (Kynkäänniemi et al., 2019),
    https://arxiv.org/abs/1904.06991; "Reliable Fidelity and Diversity Metrics for Generative Models" (Naeem
    et al., 2020), https://arxiv.org/abs/2002.09797
    """
    reference, samples = features(reference, samples)
    center = reference.mean(0)  # small numbers, and with them a small error of their distances
    reference, samples = reference - center, samples - center
    radius, radius_density = squared_radii(reference, (k, k_density)).T
    radius_samples = squared_radii(samples, (k,))
    number = len(reference)
    precise, contained = 0, 0
    recalled, covered = torch.zeros(number, dtype=torch.bool), torch.zeros(number, dtype=torch.bool)
    rows = _rows(reference)
    for part, radii in zip(samples.split(rows), radius_samples.split(rows), strict=True):
        distances = squared_distances(part, reference)
        precise += int((distances <= radius).any(1).sum())
        recalled |= (distances <= radii).any(0)
        inside = distances <= radius_density
        contained += int(inside.sum())
        covered |= inside.any(0)
    result = Support(
        precision=precise / number,
        recall=int(recalled.sum()) / number,
        density=contained / (k_density * number),
        coverage=int(covered.sum()) / number,
    )
    if number <= k:
        result = result._replace(precision=math.nan, recall=math.nan)
    return result if number > k_density else result._replace(density=math.nan, coverage=math.nan)


def expected_coverage(number: int, k: int = 5) -> float:
    """E[coverage] of N samples from the reference's own distribution, N reference images; NaN for N <= k.

    1 - (N - 1) ... (N - k) / ((2N - 1) ... (2N - k)), whatever the distribution (Naeem et al., 2020): the
    chance that the k nearest to an image, of N - 1 others and N samples, are not all among the others.

    >>> round(expected_coverage(10**6), 4)  # 1 - 2^-5
    0.9688
    """
    if number <= k:
        return math.nan
    return 1 - math.prod((number - i) / (2 * number - i) for i in range(1, k + 1))


def _rows(x: Tensor) -> int:
    return max(1, CHUNK // len(x))
