"""What every metric takes: codes (N, D) and ground-truth factors (N, F), as numpy arrays or tensors."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaelab.functional.distributions import Values

__all__ = ["Floats", "Ints", "Values", "binned"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def array(values: Values) -> NDArray[Any]:
    """``values`` as a numpy array, from whatever device they are on."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def table(values: Values, name: str) -> NDArray[Any]:
    """``values`` as an array (N, K) of finite numbers; a ValueError that names them if they are not."""
    rows = array(values)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"{name} must be (N, K), one row per image, got shape {rows.shape}")
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise ValueError(f"{name} must be finite, got {(~np.isfinite(rows)).sum()} values NaN or infinite")
    return rows


def code_array(codes: Values, name: str = "codes") -> Floats:
    """Codes as float64 (N, D), N >= 2.

    Raises:
        ValueError: not two dimensions, fewer than two rows, or a value that is NaN or infinite.
    """
    rows = table(codes, name).astype(np.float64)
    if len(rows) < 2:
        raise ValueError(f"{name} must be those of at least 2 images")
    return rows


def classes(factors: Values) -> Ints:
    """Each factor's values numbered 0, 1, ... in ascending order: (N, F), int64.

    Raises:
        ValueError: a factor has a single value, or so many that on average fewer than two images share one,
            as a continuous factor has (:func:`binned` makes classes of it).
    """
    rows = table(factors, "factors")
    numbered = np.empty(rows.shape, np.int64)
    for column in range(rows.shape[1]):
        values, numbered[:, column] = np.unique(rows[:, column], return_inverse=True)
        if len(values) == 1:
            raise ValueError(f"factor {column} has the same value for all {len(rows)} images: leave it out")
        if 2 * len(values) > len(rows):
            raise ValueError(
                f"factor {column} has {len(values)} values for {len(rows)} images, too many for classes: "
                "give more images, or cut it with vaelab.functional.disentanglement.binned"
            )
    return numbered


def check_same_images(codes: NDArray[Any], factors: NDArray[Any]) -> None:
    """A ValueError unless there is a row of factors for each code."""
    if len(codes) != len(factors):
        raise ValueError(f"codes and factors must have as many rows, got {len(codes)} and {len(factors)}")


def paired(codes: Values, factors: Values) -> tuple[Floats, Ints]:
    """Codes and classes of the same images; a ValueError where the numbers of rows differ."""
    z, v = code_array(codes), classes(factors)
    check_same_images(z, v)
    return z, v


def binned(values: Values, bins: int = 20) -> Ints:
    """Each column cut into ``bins`` intervals of equal width from its least to its greatest value.

    (N, K) -> (N, K), int64 in 0 ... bins - 1. An interval holds its lower edge, the last one both. A constant
    column lies in one bin. It is the histogram discretiser of disentanglement_lib, with 20 bins there.

    >>> binned([[0.0], [0.4], [0.5], [1.0]], bins=2).T
    array([[0, 0, 1, 1]])
    """
    columns = [np.digitize(x, np.histogram_bin_edges(x, bins)[1:-1]) for x in code_array(values, "values").T]
    return np.stack(columns, axis=1).astype(np.int64)


def split(number: int, test_share: float, seed: int) -> tuple[Ints, Ints]:
    """A random split of ``number`` rows: the indices to train on and those to test on."""
    if not 0 < test_share < 1:
        raise ValueError(f"test_share must lie between 0 and 1, got {test_share}")
    order = np.random.default_rng(seed).permutation(number)
    test = min(max(round(number * test_share), 1), number - 1)
    return order[test:], order[:test]


def standardised(codes: Floats, like: Floats) -> Floats:
    """``codes`` less the mean of ``like``, divided by its standard deviation; constant columns become 0."""
    deviation = like.std(0)
    return (codes - like.mean(0)) / np.where(deviation > 0, deviation, 1)


def top_two_gap(scores: Floats) -> Floats:
    """The largest minus the second largest of each column: (D, F) -> (F,); a ValueError with one row."""
    if len(scores) < 2:
        raise ValueError("a gap between the two best dimensions needs codes of at least two dimensions")
    ordered = np.sort(scores, axis=0)
    return ordered[-1] - ordered[-2]


def as_tensor(values: Values) -> Tensor:
    """A floating-point tensor on the CPU."""
    tensor = torch.as_tensor(values).detach().cpu()
    return tensor if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())
