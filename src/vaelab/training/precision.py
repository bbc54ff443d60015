"""What ``trainer.precision`` means where Lightning's own meaning does not fit."""

from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import Precision

from vaelab.errors import UserError

__all__ = ["HalfNetworks", "check_mixed", "own_precision"]


class HalfNetworks(Precision):
    """``bf16-true``: the weights of encoder and decoder in bfloat16, all else in 32 bits.

    Lightning's own converts every parameter and buffer, and draws noise in bfloat16. With its 8 significand
    bits log 512 is 6.25 in place of 6.238, noise chooses 100 of 1000 codes never and others 1.9 times too
    often, and moving averages, a learned sigma or a multiplier do not move by steps below 1/512 of them.
    """

    precision: Literal["bf16-true"] = "bf16-true"

    def convert_module(self, module: torch.nn.Module) -> torch.nn.Module:
        model: Any = module.model
        model.networks_to(torch.bfloat16)
        return module


def own_precision(precision: Any) -> Precision | None:
    """The plugin for a value of ``trainer.precision``; None where it is left to Lightning."""
    return HalfNetworks() if precision == HalfNetworks.precision else None


def check_mixed(asked: Any, trainer: pl.Trainer) -> None:
    """Refuse float16 where the trainer has no GPU: Lightning would train in bfloat16 and the record say 16.

    Raises:
        UserError: names the key.
    """
    if str(asked) in ("16", "16-mixed") and trainer.precision != "16-mixed":
        raise UserError(f"trainer.precision={asked} needs a GPU. On a CPU use trainer.precision=bf16-mixed.")
