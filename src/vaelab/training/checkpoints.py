"""Atomic writing of checkpoints, their paths, and the states of the global generators as plain types."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from vaelab.runs.files import replacing

__all__ = ["AtomicCheckpointIO", "random_states", "relocated", "set_random_states"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name in its folder, flushes it to the disk and renames it.

    Lightning's default writes to a temporary folder and copies the file if that is on another disk. A process
    killed during the copy would leave a partial checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        with replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


def relocated(state: Any, before: str, now: str) -> Any:
    """A callback's state in which paths below the folder ``before`` lie below ``now``.

    Lightning's ModelCheckpoint stores absolute paths, and forgets its best score if its folder has changed: a
    run that was moved or copied would overwrite its best weights by worse ones.
    """
    if isinstance(state, dict):
        return {relocated(key, before, now): relocated(value, before, now) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(relocated(value, before, now) for value in state)
    if isinstance(state, str) and Path(state).is_relative_to(before):
        return str(Path(now) / Path(state).relative_to(before))
    return state


def random_states() -> dict[str, Any]:
    """The states of all global generators as plain types. User-defined parts may draw from them (dropout)."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
        "python": random.getstate(),
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Restore what :func:`random_states` returned.

    The generators of GPUs are not restored if the number of GPUs has changed.
    """
    torch.set_rng_state(states["torch"].cpu())
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    if states["cuda"] and torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
