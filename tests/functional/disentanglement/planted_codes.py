"""Codes whose disentanglement is known."""

import itertools

import numpy as np

SIZES = (3, 4, 5)


def grid(*sizes: int, repeats: int = 1) -> np.ndarray:
    """Every combination of factor values, ``repeats`` times: independent factors, exactly."""
    rows = np.array(list(itertools.product(*map(range, sizes or SIZES))))
    return np.tile(rows, (repeats, 1))


def codes(
    factors: np.ndarray, noise: float = 0.0, empty: int = 0, idle: int = 0, seed: int = 0
) -> np.ndarray:
    """A dimension per factor, standardised, with noise; ``empty`` constant ones, ``idle`` ones of noise."""
    random = np.random.default_rng(seed)
    perfect = (factors - factors.mean(0)) / factors.std(0)
    perfect = perfect + noise * random.standard_normal(perfect.shape)
    number = len(factors)
    return np.concatenate(
        [perfect, np.zeros((number, empty)), random.standard_normal((number, idle))], axis=1
    )
