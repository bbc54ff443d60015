"""Precision and recall, density and coverage: does each sample look real, is each real image reached?

The support of a set of features is taken to be the union of balls around its members, each reaching to its
member's k-th nearest neighbour in the set. Numbers depend on the feature network, on k and on how many images
there are. Distances are had in chunks: memory grows with N, not with N^2.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vaelab.estimators import Values, squared_distances
from vaelab.quality.frechet import features

CHUNK = 2**24  # distances at once: 128 MB


def _chunks(x: Tensor, width: int) -> Iterator[Tensor]:
    yield from x.split(max(1, CHUNK // max(1, width)))


def squared_radii(x: Tensor, k: int) -> Tensor:
    """Squared distances of each member to its k-th nearest neighbour among the others: (N, d) -> (N,).

    NaN where a set has no k others.
    """
    if len(x) <= k:
        return x.new_full((len(x),), torch.nan)
    found = []
    start = 0
    for part in _chunks(x, len(x)):
        distances = squared_distances(part, x)
        own = torch.arange(len(part))
        distances[own, start + own] = torch.inf
        found.append(distances.kthvalue(k, dim=1).values)
        start += len(part)
    return torch.cat(found)


def precision_recall(reference: Values, samples: Values, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al., 2019, eq. 2): features (N, d), (N, d) -> in [0, 1].

    Precision: the share of the samples that lie in a ball of the reference. Recall: the share of the
    reference that lies in a ball of the samples. NaN with k images or fewer.
    """
    reference, samples = _centred(reference, samples)
    if len(reference) <= k:
        return math.nan, math.nan
    of_reference, of_samples = squared_radii(reference, k), squared_radii(samples, k)
    inside, reached = [], torch.zeros(len(reference), dtype=torch.bool)
    for part, radii in zip(
        _chunks(samples, len(reference)), _chunks(of_samples, len(reference)), strict=True
    ):
        distances = squared_distances(part, reference)
        inside.append((distances <= of_reference).any(1))
        reached |= (distances <= radii[:, None]).any(0)
    return float(torch.cat(inside).double().mean()), float(reached.double().mean())


def density_coverage(reference: Values, samples: Values, k: int = 5) -> tuple[float, float]:
    """Density and coverage (Naeem et al., 2020, section 3): features (N, d), (N, d) -> two numbers.

    Density: 1/(k N) sum_j #{balls of the reference that hold sample j}: 1 in expectation where both sets have
    one distribution, more where the samples crowd. Coverage: the share of the reference's balls that hold a
    sample, in [0, 1]; :func:`expected_coverage` says what a perfect model gets. NaN with k images or fewer.
    """
    reference, samples = _centred(reference, samples)
    if len(reference) <= k:
        return math.nan, math.nan
    radii = squared_radii(reference, k)
    held, covered = 0, torch.zeros(len(reference), dtype=torch.bool)
    for part in _chunks(samples, len(reference)):
        inside = squared_distances(part, reference) <= radii
        held += int(inside.sum())
        covered |= inside.any(0)
    return held / (k * len(samples)), float(covered.double().mean())


def expected_coverage(number: int, k: int = 5) -> float:
    """E[coverage] of N samples from the reference's own distribution, N reference images; NaN for N <= k.

    1 - (N - 1) ... (N - k) / ((2N - 1) ... (2N - k)), whatever the distribution (Naeem et al., 2020,
    section 3.4): of an image, N - 1 others and N samples, the k nearest are all among the others.
    """
    if number <= k:
        return math.nan
    return 1 - math.prod((number - i) / (2 * number - i) for i in range(1, k + 1))


def _centred(reference: Values, samples: Values) -> tuple[Tensor, Tensor]:
    """Both sets around the reference's mean, which keeps the distances' rounding small."""
    reference, samples = features(reference, samples)
    center = reference.mean(0)
    return reference - center, samples - center
