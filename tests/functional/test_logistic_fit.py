"""Discretized logistic distributions fitted to histograms, against scipy's optimiser and distribution."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize
from scipy.stats import logistic

from vaelab.functional.logistic_fit import fit_discretized_logistic

GREATEST = math.exp(8)
LEVELS = np.arange(256)
EDGES = np.concatenate([[-np.inf], (LEVELS[:-1] + 0.5) / 255, [np.inf]])


def cost(counts: np.ndarray, mu: np.ndarray, log_scale: np.ndarray) -> np.ndarray:
    """-sum_k counts_k log P(k) of each row, by scipy's distribution function, from the nearer tail."""
    t = (EDGES - mu[..., None]) / np.exp(log_scale)[..., None]
    left = t[..., 1:] + t[..., :-1] < 0
    mass = np.where(left, np.diff(logistic.cdf(t)), -np.diff(logistic.sf(t)))
    return -(counts * np.log(np.maximum(mass, 1e-300))).sum(-1)


def histograms() -> dict[str, np.ndarray]:
    """Of 500 grey values each, with one value more at level 70, as smoothing adds it."""
    random = np.random.default_rng(0)
    rows = {f"beta {a} {b}": 255 * random.beta(a, b, 500) for a in (0.3, 1, 4, 20) for b in (0.3, 2, 9)}
    rows["two levels"] = np.repeat([40, 200], [150, 350])
    rows["black or white"] = np.repeat([0, 255], [150, 350])
    rows["mostly black"] = np.append(np.zeros(497), [3, 90, 255])
    rows |= {f"always {level}": np.full(500, level) for level in (0, 1, 128, 254, 255)}
    rows["two neighbours"] = np.repeat([99, 100], [200, 300])
    rows["every level"] = np.linspace(0, 255, 500)
    counts = {n: np.bincount(np.round(v).astype(int), minlength=256) + 0.0 for n, v in rows.items()}
    return {name: row + (LEVELS == 70) for name, row in counts.items()}


ROWS = histograms()


def test_each_pixel_is_at_its_optimum():
    """Nelder-Mead from several starts finds nothing lower by more than 1e-4 nats over 501 values."""
    counts = np.stack(list(ROWS.values()))
    mu, log_scale = (v.numpy() for v in fit_discretized_logistic(torch.tensor(counts), GREATEST))
    found = cost(counts, mu, log_scale)
    assert (log_scale >= -8 - 1e-9).all()
    for name, row, value in zip(ROWS, counts, found, strict=True):
        grid = np.linspace(0, 1, 256)
        mean = row @ grid / row.sum()
        spread = math.sqrt(row @ np.square(grid - mean) / row.sum())

        def of(p: np.ndarray, row: np.ndarray = row) -> float:
            return float(cost(row, p[0], np.asarray(p[1]))) if -8 <= p[1] <= 6 else math.inf

        starts = [(mean, math.log(spread)), (row.argmax() / 255, -4.0)]
        best = min(
            optimize.minimize(of, s, method="Nelder-Mead", options={"xatol": 1e-8}).fun for s in starts
        )
        assert value <= best + 1e-4, name


def test_one_scale_for_all_pixels_is_at_its_optimum():
    """The gradient by central differences is 0, and scipy finds nothing lower from the moments."""
    counts = np.stack([ROWS[name] for name in ("beta 0.3 2", "beta 4 9", "two levels", "mostly black")])
    mu, log_scale = (v.numpy() for v in fit_discretized_logistic(torch.tensor(counts), 1e5, shared=True))
    assert log_scale.shape == (1,)

    def of(p: np.ndarray) -> float:
        return float(cost(counts, p[:-1], p[-1:]).sum())

    found = np.append(mu, log_scale)
    start = np.append(counts @ np.linspace(0, 1, 256) / counts.sum(1), -1.5)
    best = optimize.minimize(of, start, method="BFGS").fun
    assert of(found) <= best + 1e-4
    steps = 1e-4 * np.eye(len(found))
    gradient = [(of(found + step) - of(found - step)) / 2e-4 for step in steps]
    # the second derivatives are of the order of 1e4: a gradient of 0.1 is 1e-6 nats away from the optimum
    assert np.abs(gradient).max() < 0.1


@pytest.mark.parametrize("shared", [False, True])
def test_the_distribution_of_the_counts_is_found_again(shared: bool):
    """Counts that are exactly those of a discretized logistic have it as their optimum."""
    mu, scale = np.array([0.2, 0.7, 1.1]), np.array([0.05, 0.05, 0.05] if shared else [0.02, 0.3, 0.05])
    counts = 1000 * np.diff(logistic.cdf((EDGES - mu[:, None]) / scale[:, None]))
    found, log_scale = fit_discretized_logistic(torch.tensor(counts), GREATEST, shared)
    assert np.allclose(found.numpy(), mu, atol=1e-5)
    assert np.allclose(log_scale.exp().numpy(), scale[: len(log_scale)], rtol=1e-4)
