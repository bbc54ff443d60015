"""A summary of a run before training: its parts, terms, shapes, steps and parameter counts."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from vaelab.functional.images import to_float
from vaelab.functional.randomness import generator
from vaelab.models.schedules import short_name
from vaelab.training.assembly import build_data
from vaelab.training.measure import describe
from vaelab.training.setup import build_module

__all__ = ["PartSummary", "Summary", "TermSummary", "planned_steps", "summary"]

Shape = tuple[int, ...]
Values = tuple[float, ...]
"""A number at the first, the middle and the last step; at the first only if the training has no limit."""


@dataclass(frozen=True)
class PartSummary:
    """A part of the model. ``shapes``: of its input and output for one image."""

    shapes: tuple[Shape, ...]
    parameters: int


@dataclass(frozen=True)
class TermSummary:
    """A term of the objective: its weight, and its other schedules and multipliers."""

    weight: Values
    others: dict[str, Values]
    parameters: int


@dataclass(frozen=True)
class Summary:
    """The data, the training, the parts, the terms and the metrics of a run."""

    data: dict[str, Any]  # image_shape, value_range, numbers of train, val and test images
    batch_size: int
    batches: int  # per epoch
    steps: float  # optimizer steps of the whole training; infinite without a limit
    learning_rate_factor: Values
    samples: int  # of z per image
    parameters: int
    parts: dict[str, PartSummary]
    terms: dict[str, TermSummary]
    metrics: tuple[str, ...]


def summary(config: Mapping[str, Any]) -> Summary:
    """The summary of the run with the resolved config ``config``.

    The function reads the data (and downloads them if the run would), builds the model and passes one batch.

    Raises:
        UserError: the parts or the data do not fit together.
    """
    cfg: DictConfig = OmegaConf.create(dict(config))
    data = build_data(cfg)
    with torch.random.fork_rng(devices=[]):
        lit = build_module(cfg, data)
    model = lit.model
    batches = len(data.train_dataloader())
    steps = planned_steps(cfg.trainer, batches)
    lit.set_total_steps(steps)
    batch = next(iter(data.train_dataloader()))
    x = to_float(batch.x)
    ordinary = model.at()  # of a multi-rate model: the shapes of one beta
    with torch.no_grad(), shapes_of(encoder=ordinary.encoder, decoder=ordinary.decoder) as seen:
        noise = ordinary.draw_noise(len(x), generator(0, "summary"), image_shape=x.shape[1:])
        ordinary(x, noise, 0, batch.y)
    image, z = tuple(x.shape[1:]), model.latent_shape
    flow = {
        "corruption": (image, image),
        "condition": (),
        "encoder": seen["encoder"],
        "posterior": (seen["encoder"][1], z),
        "prior": (z,),
        "decoder": seen["decoder"],
        "likelihood": (seen["decoder"][1], image),
    }
    parts = {
        name: PartSummary(shapes, parameter_count(getattr(model, name)))
        for name, shapes in flow.items()
        if name not in ("condition", "corruption") or cfg.model.get(name) is not None
    }
    terms = {
        name: TermSummary(over_time(term.weight, steps), changing(term, steps), parameter_count(term))
        for name, term in model.objective.terms.items()
    }
    return Summary(
        data=describe(data),
        batch_size=data.batch_size,
        batches=batches,
        steps=steps,
        learning_rate_factor=over_time(lit.learning_rates.factor, steps),
        samples=model.samples,
        parameters=parameter_count(model),
        parts=parts,
        terms=terms,
        metrics=tuple(map(str, lit.test_metrics.keys())),
    )


@contextmanager
def shapes_of(**modules: nn.Module) -> Iterator[dict[str, tuple[Shape, Shape]]]:
    """Inside the block, the shapes of each named module's input and output, without the batch dimension."""
    seen: dict[str, tuple[Shape, Shape]] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[name] = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])

        return record

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def planned_steps(trainer: Mapping[str, Any], batches: int) -> float:
    """Optimizer steps of the whole training by the limits in ``trainer``; infinite if it has none.

    >>> planned_steps({"max_epochs": 3, "accumulate_grad_batches": 4}, batches=10)  # 4, 4 and 2 batches
    9
    """
    limit = trainer.get("limit_train_batches")
    if limit is not None:  # a whole number of batches, or a share of them
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    epochs, most = trainer.get("max_epochs"), trainer.get("max_steps")
    accumulated = trainer.get("accumulate_grad_batches") or 1
    limits = [] if epochs in (None, -1) else [math.ceil(batches / accumulated) * epochs]
    limits += [] if most in (None, -1) else [most]
    return min(limits, default=math.inf)


def changing(term: nn.Module, steps: float) -> dict[str, Values]:
    """The schedules and multipliers of a term except its weight: everything with a ``reading``."""
    return {
        short_name(name): over_time(module.reading, steps)
        for name, module in term.named_modules()
        if hasattr(module, "reading") and module is not term.weight
    }


def over_time(value: Any, steps: float) -> Values:
    """``value``, a function of the step, at the first, the middle and the last step."""
    times = [0, *((int(steps) // 2, max(int(steps) - 1, 0)) if math.isfinite(steps) else ())]
    with torch.no_grad():
        return tuple(float(value(step)) for step in times)


def parameter_count(module: nn.Module) -> int:
    """The number of learned parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
