"""What a run records about its data and its trained model."""

import copy
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from vaelab.data.datamodule import DataModule
from vaelab.errors import reason
from vaelab.functional.randomness import generator
from vaelab.runs.files import replacing
from vaelab.runs.record import PER_IMAGE
from vaelab.runs.request import RunRequest
from vaelab.runs.resume import LAST
from vaelab.training.constant_image import constant_distortions
from vaelab.training.module import LitAutoencoder
from vaelab.training.trainer import running
from vaelab.types import Batch

__all__ = [
    "OBJECTIVE",
    "STEPS",
    "constant_metrics",
    "describe",
    "headline",
    "held_out_metrics",
    "load_chosen_weights",
    "measure",
    "target_values",
    "write_image_rates",
]

log = logging.getLogger(__name__)

OBJECTIVE = "val/objective"  # the best weights are those of its least value
STEPS = "train/steps"  # of the optimizer


CONSTANT = "constant_distortion"
CHECKED = 5_000  # training images on which a target is checked


def describe(data: DataModule) -> dict[str, Any]:
    """What the record says of the images: shape, range of values, classes, scaling, numbers, digest."""
    return {
        "image_shape": list(data.image_shape),
        "value_range": list(data.value_range),
        "class_names": list(data.splits.class_names) or None,
        "scaling": None if data.scaling is None else data.scaling.plain(),
        "train": len(data.train),
        "val": len(data.val) if data.val is not None else 0,
        "test": len(data.test),
        "sha256": data.splits.digest,
    }


def headline(request: RunRequest, data: Mapping[str, Any], parameters: int) -> str:
    """A log line: the variant, its size and the data."""
    shape = "x".join(map(str, data["image_shape"]))
    return (
        f"{request.variant} with {parameters:,} parameters on {request.dataset} {shape}: "
        f"{data['train']:,} train, {data['val']:,} val, {data['test']:,} test images"
    )


def measure(
    split: str, loop: Callable[..., Any], trainer: pl.Trainer, module: LitAutoencoder, data: DataModule
) -> None:
    """Measure the module on the images of ``split`` by ``loop``, trainer.validate or trainer.test.

    An error after its numbers are known, as of a callback that draws or of a logger, is logged and does not
    cost them.
    """
    module.results.pop(split, None)  # of the training
    try:
        with running(trainer):
            loop(module, datamodule=data, verbose=False)
    except Exception as error:
        if split not in module.results:
            raise
        text = f"{type(error).__name__}: {reason(error)}"
        log.warning("After %s was measured, a callback or logger failed: %s", split, text, exc_info=error)


def load_chosen_weights(choice: str, trainer: pl.Trainer, module: LitAutoencoder) -> tuple[str, str]:
    """Load the weights to be measured into the module.

    Args:
        choice: ``model.weights``. "best": those of the least ``val/objective``, or the last weights if no
            callback kept them. "last": those at the end of training.

    Returns:
        their checkpoint, relative to the run's folder; "best" or "last", which they are.

    Afterwards ``checkpoints/last.ckpt`` exists in any case.
    """
    folder = Path(trainer.default_root_dir)
    last = folder / LAST
    # saving is collective: all processes must decide alike, and the first one may write before another looks
    if trainer.strategy.broadcast(not last.is_file()):
        trainer.save_checkpoint(last)
    best = [
        Path(callback.best_model_path)
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint)
        and callback.monitor == OBJECTIVE
        and callback.best_model_path
    ]
    found = "best" if best and choice == "best" else "last"
    chosen = best[0] if found == "best" else last
    module.load_state_dict(torch.load(chosen, map_location="cpu", weights_only=True)["state_dict"])
    return str(chosen.relative_to(folder) if chosen.is_relative_to(folder) else chosen), found


def constant_metrics(module: LitAutoencoder, data: DataModule) -> tuple[dict[str, dict[str, Tensor]], Tensor]:
    """Of each held-out split ``constant_distortion`` with its standard error; that of each test image, (N,).

    They do not depend on the training: a learned scale is fitted to the constant image.
    """
    likelihood = copy.deepcopy(module.model.likelihood).float().cpu()
    splits = {name: images for name, images in (("val", data.val), ("test", data.test)) if images is not None}
    values = constant_distortions(likelihood, module.model.at().condition, data, splits)
    found: dict[str, dict[str, Tensor]] = {}
    for split, of_images in values.items():
        numbers = mean_and_error(CONSTANT, of_images)
        found[split] = {name: torch.tensor(number, dtype=torch.float64) for name, number in numbers.items()}
    return found, values["test"]


def held_out_metrics(module: LitAutoencoder) -> dict[str, Any]:
    """``val/...`` and ``test/...`` of the measured weights; vectors as lists."""
    return {
        f"{split}/{name}": value.tolist()
        for split, results in module.results.items()
        for name, value in results.items()
    }


def write_image_rates(module: LitAutoencoder, folder: Path, constant: Tensor) -> str | None:
    """Write PER_IMAGE atomically into ``folder``, by the first process; return its name.

    Of each test image: ``rate`` and ``distortion`` (N,), float32, averaged over draws of z; the distortion of
    the best constant image, ``constant_distortion``, from ``constant`` by position; and ``position`` (N,),
    int64. None, and no file, if the rate is undefined: an earlier file is removed.
    """
    rates = module.image_rates.get("test")
    found = rates is not None and bool(rates.rate.isfinite().all())
    path = folder / PER_IMAGE
    if module.trainer.is_global_zero:
        if rates is not None and found:
            arrays = {name: value.cpu().numpy() for name, value in rates._asdict().items()}
            arrays[CONSTANT] = constant.numpy()[arrays["position"]]
            types = {name: np.int64 if name == "position" else np.float32 for name in arrays}
            with replacing(path) as temporary:
                np.savez(temporary, **{name: arrays[name].astype(kind) for name, kind in types.items()})
        else:
            path.unlink(missing_ok=True)
    return PER_IMAGE if found else None


def target_values(module: LitAutoencoder, data: DataModule) -> dict[str, float]:
    """The target of an objective that drives the rate or the distortion to one, and what it has come to.

    ``train/<rate|distortion>_target``, and ``..._reached`` with its standard error ``..._reached_se``: the
    mean over a fixed random subset of training images with the trained weights. Empty without a target.
    """
    aims = dict(filter(None, (term.aim() for term in module.model.objective.terms.values())))  # type: ignore[operator]
    if not aims:
        return {}
    values: dict[str, list[Tensor]] = {of: [] for of in aims}
    module.eval()
    with torch.no_grad():
        for number, batch in enumerate(data.training_sample(CHECKED)):
            noise = module.model.draw_noise(len(batch.x), generator(0, "target", number))
            stats = module(_on(batch, module.device), noise).stats
            for of in aims:
                values[of].append((stats.rate if of == "rate" else stats.distortion.mean(0)).cpu())
    found: dict[str, float] = {}
    for of, target in aims.items():
        found[f"train/{of}_target"] = target
        found |= mean_and_error(f"train/{of}_reached", torch.cat(values[of]))
    return found


def mean_and_error(name: str, values: Tensor) -> dict[str, float]:
    """``name``: the mean of the values (N,); ``name_se``: its standard error, NaN of a single value."""
    error = values.double().std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return {name: values.double().mean().item(), f"{name}_se": error}


def _on(batch: Batch, device: torch.device) -> Batch:
    return Batch._make(field if field is None else field.to(device) for field in batch)
