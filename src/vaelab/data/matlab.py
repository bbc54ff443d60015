"""Arrays of numbers from MATLAB's .mat files, of which nothing else is read."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vaelab.data.memory import check_size
from vaelab.errors import UserError, first_line

__all__ = ["read_mat"]

BYTES = {
    **dict.fromkeys(("int8", "uint8", "logical"), 1),
    **dict.fromkeys(("int16", "uint16"), 2),
    **dict.fromkeys(("int32", "uint32", "single"), 4),
    **dict.fromkeys(("int64", "uint64", "double"), 8),
}  # by the names that MATLAB gives the types of numbers


def read_mat(file: Path, layout: Mapping[str, tuple[int | None, ...]]) -> dict[str, np.ndarray]:
    """The arrays of ``file`` that ``layout`` names, each with its shape; None stands for any length above 0.

    Raises:
        UserError: the file is no .mat file of version 4 to 7.2, is damaged, does not fit into memory, or
            lacks an array of real numbers with this name and shape.
    """
    from scipy import io

    try:
        found = {name: (shape, kind) for name, shape, kind in io.whosmat(file)}
        size = 0
        for name, expected in layout.items():
            if name not in found:
                raise UserError(
                    f"{file} has no array {name!r}; it has: {', '.join(sorted(found)) or 'none'}."
                )
            shape, kind = found[name]
            fits = len(shape) == len(expected) and all(
                length == other or (other is None and length > 0)
                for length, other in zip(shape, expected, strict=True)
            )
            if not fits or kind not in BYTES:
                needed = ", ".join("N" if length is None else str(length) for length in expected)
                raise UserError(f"Array {name!r} of {file} is {shape} {kind}; it must be ({needed}) numbers.")
            size += math.prod(shape) * BYTES[kind]
        check_size(3 * size, str(file))  # beside it a copy in another order, and that of the split
        read = io.loadmat(file, variable_names=list(layout))
        arrays = {name: np.asarray(read[name]) for name in layout}
    except UserError:
        raise
    except Exception as error:  # of a damaged file scipy raises anything
        raise UserError(
            f"{file} is not a .mat file, or is damaged: {first_line(error) or type(error).__name__}. "
            "Get it again."
        ) from None
    for name, array in arrays.items():
        if array.dtype.kind not in "buif" or array.shape != found[name][0]:
            raise UserError(f"Array {name!r} of {file} is damaged. Get it again.")
    return arrays
