"""What a run says of its data and of its trained model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from vaelab.data.datamodule import DataModule
from vaelab.runs.request import RunRequest
from vaelab.runs.resume import LAST
from vaelab.training.module import LitAutoencoder

__all__ = ["describe", "headline", "held_out_metrics", "load_chosen_weights"]


def describe(data: DataModule) -> dict[str, Any]:
    """The shape and the range of the images, and how many there are, for the record."""
    return {
        "image_shape": list(data.image_shape),
        "value_range": list(data.value_range),
        "train": len(data.train),
        "val": len(data.val) if data.val is not None else 0,
        "test": len(data.test),
    }


def headline(request: RunRequest, data: Mapping[str, Any], parameters: int) -> str:
    """One line: what is trained on what."""
    shape = "x".join(map(str, data["image_shape"]))
    return (
        f"{request.variant} with {parameters:,} parameters on {request.dataset} {shape}: "
        f"{data['train']:,} train, {data['val']:,} val, {data['test']:,} test images"
    )


def load_chosen_weights(choice: str, trainer: pl.Trainer, module: LitAutoencoder) -> str:
    """Put the weights that are to be measured into the module; the checkpoint, relative to the run's folder.

    Args:
        choice: ``model.weights``. "best": those of the checkpoint callback that monitors a metric, or the
            last weights where there is none. "last": those of the end of training.

    ``checkpoints/last.ckpt`` exists after this in any case.
    """
    folder = Path(trainer.default_root_dir)
    last = folder / LAST
    if not last.is_file():
        trainer.save_checkpoint(last)
    best = [
        Path(callback.best_model_path)
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path
    ]
    chosen = best[0] if best and choice == "best" else last
    module.load_state_dict(torch.load(chosen, map_location="cpu", weights_only=True)["state_dict"])
    return str(chosen.relative_to(folder) if chosen.is_relative_to(folder) else chosen)


def held_out_metrics(module: LitAutoencoder) -> dict[str, Any]:
    """``val/...`` and ``test/...`` of the weights that were measured; vectors as lists."""
    return {
        f"{split}/{name}": value.tolist()
        for split, results in module.results.items()
        for name, value in results.items()
    }
