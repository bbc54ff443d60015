"""How many threads torch uses in a run."""

import torch

__all__ = ["set_threads"]


def set_threads(threads: int | None, reserved: int | None = None) -> None:
    """Set torch's number of threads.

    Args:
        threads: the number; None leaves torch's own choice, but never more than ``reserved``.
        reserved: the cores that the launcher of a sweep keeps for this run; None if it keeps none. Torch may
            see fewer, or be asked for fewer by OMP_NUM_THREADS, so it is a limit and no number to set.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    elif reserved is not None:
        torch.set_num_threads(min(reserved, torch.get_num_threads()))
