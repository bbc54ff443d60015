"""The number of threads that torch uses in a run."""

import torch

__all__ = ["set_threads"]


def set_threads(threads: int | None, reserved: int | None = None) -> None:
    """Set torch's number of threads.

    Args:
        threads: the number; None for torch's default, but at most ``reserved``.
        reserved: the cores that the launcher of a sweep reserves for this run; None if it reserves none. It
            is only a limit, because torch may see fewer cores or OMP_NUM_THREADS may ask for fewer.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    elif reserved is not None:
        torch.set_num_threads(min(reserved, torch.get_num_threads()))
