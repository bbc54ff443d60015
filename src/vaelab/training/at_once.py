"""How many optimizer steps a training takes in each turn of Lightning's loop.

The loop, its hooks and its callbacks take some 0.5 ms a turn, as much as a step of a small network. So a
turn gets several batches as one, and the module takes a step for each (:meth:`LitAutoencoder.training_step`).
What is counted in steps stays as it is: noise, schedules, logged numbers, ``trainer.max_steps``, checkpoints.
Where a setting or a part counts the turns themselves, a turn is one step.
"""

from typing import Any

from omegaconf import DictConfig

from vaelab.errors import UserError

__all__ = ["steps_at_once"]

USUAL = 10
SLOW = 1e10  # floating-point operations of a batch's forward pass: half a second a step on a CPU's core

# under these settings a turn may be several steps; any other counts turns, or is Lightning's to carry out
OF_SEVERAL: dict[str, tuple[Any, ...]] = {
    "accumulate_grad_batches": (1, None),
    "gradient_clip_val": (None,),
    "val_check_interval": (None, 1.0),
    "limit_train_batches": (None, 1.0),
    "overfit_batches": (0, None),
    "fast_dev_run": (False, None),
    "precision": ("32-true", "64-true", "bf16-true", "32", "64", 32, 64, None),
    "strategy": ("auto",),
    "devices": (1, "1"),
    "num_nodes": (1,),
    "profiler": (None,),
    "barebones": (False,),
    "plugins": (None,),
}


def steps_at_once(cfg: DictConfig, flops: float) -> int:
    """``cfg.steps_at_once``; if it is null, 10 where nothing needs a turn for each step, else 1.

    Args:
        flops: of the forward pass of a batch. A slow step gains nothing.

    Raises:
        UserError: several are asked for, and a setting of the trainer does not allow it.
    """
    asked = cfg.get("steps_at_once")
    counts = next((key for key, may in OF_SEVERAL.items() if cfg.trainer.get(key, may[0]) not in may), None)
    if asked is None:
        return 1 if counts or flops > SLOW or any(map(_may_count, cfg.callbacks.values())) else USUAL
    if asked > 1 and counts:
        raise UserError(
            f"steps_at_once={asked}: trainer.{counts}={cfg.trainer[counts]} needs a turn of Lightning's loop "
            "for each step. Leave one of the two out."
        )
    return int(asked)


def _may_count(callback: Any) -> bool:
    """Whether a node of ``callbacks`` may do something at each turn: not our own and the best weights'."""
    if callback is None or str(callback._target_).startswith("vaelab."):
        return False
    at_turns = callback.get("every_n_train_steps") or callback.get("train_time_interval")
    return bool(at_turns or callback._target_ != "pytorch_lightning.callbacks.ModelCheckpoint")
