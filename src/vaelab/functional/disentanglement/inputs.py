"""What every metric takes: codes (N, D) and ground-truth factors (N, F), as numpy arrays or tensors."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vaelab.errors import UserError

Values = Tensor | ArrayLike
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def array(values: Values) -> NDArray[Any]:
    """``values`` as a numpy array, wherever they lie."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def code_array(codes: Values, name: str = "codes") -> Floats:
    """Codes as float64 (N, D).

    Raises:
        UserError: not two dimensions, fewer than two rows, or a value that is NaN or infinite.
    """
    found = array(codes)
    if found.ndim != 2 or len(found) < 2 or found.shape[1] < 1:
        raise UserError(f"The {name} are {found.shape}; they must be (N, D): N images, at least 2, as rows.")
    wide: Floats = found.astype(np.float64)
    bad = int((~np.isfinite(wide)).sum())
    if bad:
        raise UserError(f"The {name} hold {bad} values that are NaN or infinite; every value must be finite.")
    return wide


def factor_array(factors: Values) -> NDArray[Any]:
    """Factors as they are, (N, F), checked for shape and finiteness."""
    found = array(factors)
    if found.ndim != 2 or found.shape[1] < 1:
        raise UserError(f"The factors are {found.shape}; they must be (N, F): a row of F factors per image.")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise UserError("The factors hold values that are NaN or infinite; every value must be finite.")
    return found


def classes(factors: Values) -> Ints:
    """Each factor's values numbered 0, 1, ... in ascending order: (N, F), int64.

    Raises:
        UserError: a factor has one value only, so that there is nothing to find; or so many that on average
            fewer than two images share one, as a continuous factor has: see :func:`binned`.
    """
    found = factor_array(factors)
    numbered = np.empty(found.shape, np.int64)
    for column in range(found.shape[1]):
        values, numbered[:, column] = np.unique(found[:, column], return_inverse=True)
        if len(values) == 1:
            raise UserError(f"Factor {column} has the same value for all {len(found)} images: leave it out.")
        if 2 * len(values) > len(found):
            raise UserError(
                f"Factor {column} has {len(values)} values for {len(found)} images, too many for classes. "
                "Give more images, or cut a continuous factor: vaelab.functional.disentanglement.binned(factors)."
            )
    return numbered


def paired(codes: Values, factors: Values) -> tuple[Floats, Ints]:
    """Codes and classes of the same images; a UserError where the numbers of rows differ."""
    found, numbered = code_array(codes), classes(factors)
    if len(found) != len(numbered):
        raise UserError(f"{len(found)} codes but {len(numbered)} rows of factors; each code needs its own.")
    return found, numbered


def binned(values: Values, bins: int = 20) -> Ints:
    """Each column cut into ``bins`` intervals of equal width from its least to its greatest value.

    (N, K) -> (N, K), int64 in 0 ... bins - 1. An interval holds its lower edge, the last one both. A constant
    column lies in one bin. It is the histogram discretiser of disentanglement_lib, with 20 bins there.
    """
    found = code_array(values, "values")
    columns = [np.digitize(x, np.histogram_bin_edges(x, bins)[1:-1]) for x in found.T]
    return np.stack(columns, axis=1).astype(np.int64)


def split(number: int, test_share: float, seed: int) -> tuple[Ints, Ints]:
    """A random split of ``number`` rows: the indices to train on and those to test on."""
    if not 0 < test_share < 1:
        raise UserError(f"test_share={test_share} must lie between 0 and 1.")
    order = np.random.default_rng(seed).permutation(number)
    test = min(max(round(number * test_share), 1), number - 1)
    return order[test:], order[:test]


def standardised(codes: Floats, like: Floats) -> Floats:
    """``codes`` with the mean and the standard deviation of ``like`` taken out; constant columns become 0."""
    deviation = like.std(0)
    return (codes - like.mean(0)) / np.where(deviation > 0, deviation, 1)


def top_two_gap(table: Floats) -> Floats:
    """The largest minus the second largest of each column: (D, F) -> (F,); UserError with one row."""
    if len(table) < 2:
        raise UserError("A gap between the two best dimensions needs codes of at least two dimensions.")
    ordered = np.sort(table, axis=0)
    return ordered[-1] - ordered[-2]


def as_tensor(values: Values) -> Tensor:
    """A floating-point tensor on the CPU."""
    found = torch.as_tensor(values).detach().cpu()
    return found if found.is_floating_point() else found.to(torch.get_default_dtype())
