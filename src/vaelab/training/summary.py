"""A run's assembly in words: parts, terms, weights, shapes, parameter counts. Built, never trained."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from vaelab.functional.images import to_float
from vaelab.functional.randomness import generator
from vaelab.models.schedules import short_name
from vaelab.runs.tables import text_table
from vaelab.training.assembly import build_data
from vaelab.training.fit import build_lit, describe
from vaelab.training.module import LitAutoencoder


def outline(config: Mapping[str, Any], title: str) -> str:
    """What a run with this config is made of.

    The data are read (and downloaded where a run would), the model is built and sees one batch, so that what
    does not fit together is a UserError here as it would be there.
    """
    cfg: DictConfig = OmegaConf.create(dict(config))
    data = build_data(cfg)
    sizes = describe(data)
    with torch.random.fork_rng(devices=[]):
        lit = build_lit(cfg, data)
    model = lit.model
    batches = len(data.train_dataloader())
    steps = planned_steps(cfg.trainer, batches)
    lit.set_total_steps(steps)
    batch = next(iter(data.train_dataloader()))
    x = to_float(batch.x)
    with torch.no_grad(), Shapes(encoder=model.encoder, decoder=model.decoder) as shapes:
        noise = model.draw_noise(len(x), generator(0, "outline"), image_shape=x.shape[1:])
        output = model(x, noise, 0, batch.y)
    z, image = shape(output.stats.z, leading=2), shape(x)
    nodes = {
        **dict.fromkeys(("encoder", "decoder"), config["network"]),
        **{name: config["model"].get(name) for name in ("condition", "corruption", "posterior")},
        **{name: config[name] for name in ("prior", "likelihood")},
    }
    flow = {
        "corruption": f"{image} -> {image}",
        "encoder": " -> ".join(shapes.seen["encoder"]),
        "posterior": f"{shapes.seen['encoder'][1]} -> {z}",
        "prior": z,
        "decoder": " -> ".join(shapes.seen["decoder"]),
        "likelihood": f"{shapes.seen['decoder'][1]} -> {image}",
    }
    parts = [
        (name, named(nodes[name]), flow.get(name, ""), parameters(getattr(model, name)))
        for name in ("corruption", "condition", "encoder", "posterior", "prior", "decoder", "likelihood")
        if nodes[name] is not None
    ]
    terms = [
        (name, named(config["model"]["objective"][name]), course(term, steps), parameters(term))
        for name, term in model.objective.terms.items()
    ]
    low, high = sizes["value_range"]
    monitor = config["model"].get("monitor") or {}
    length = f"{steps:,.0f} steps" if math.isfinite(steps) else "without an end"
    binarize = config["data"].get("binarize") or "none"
    return "\n".join(
        [
            f"{title}: {parameters(model)} parameters. Nothing is trained, nothing is written.",
            "",
            f"data       {sizes['train']:,} train, {sizes['val']:,} val, {sizes['test']:,} test images of "
            f"{image} in [{low:g}, {high:g}]" + (f", binarised ({binarize})" if binarize != "none" else ""),
            f"training   {length}, {batches:,} batches of {data.batch_size} an epoch; "
            f"{named(config['optimizer'])}{''.join(step_details(cfg.trainer, lit, steps))}",
            f"best       by {monitor.get('metric')} ({monitor.get('mode')})",
            f"measured   {', '.join(map(str, lit.test_metrics.keys()))}",
            f"objective  the sum of weight times term, a mean over images; {model.samples} "
            f"{'sample' if model.samples == 1 else 'samples'} of z an image",
            "",
            text_table(["part", "", "shapes of one image", "parameters"], parts),
            "",
            text_table(["term", "", "weight at the first, middle, last step", "parameters"], terms),
        ]
    )


class Shapes:
    """While open, notes what goes into each of the named modules and what comes out, for one image."""

    def __init__(self, **modules: nn.Module) -> None:
        self.seen: dict[str, tuple[str, str]] = {}
        self._hooks = [module.register_forward_hook(self._note(name)) for name, module in modules.items()]

    def _note(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.seen[name] = shape(inputs[0]), shape(output)

        return hook

    def __enter__(self) -> "Shapes":
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()


def planned_steps(trainer: Mapping[str, Any], batches: int) -> float:
    """Optimizer steps of the whole training, by ``trainer``'s own limits; infinite if it has none of them."""
    limit = trainer.get("limit_train_batches")
    if limit is not None:  # a whole number of batches, or a share of them
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    epochs, most = trainer.get("max_epochs"), trainer.get("max_steps")
    accumulated = trainer.get("accumulate_grad_batches") or 1
    limits = [] if epochs in (None, -1) else [math.ceil(batches / accumulated) * epochs]
    limits += [] if most in (None, -1) else [most]
    return min(limits, default=math.inf)


def step_details(trainer: Mapping[str, Any], lit: LitAutoencoder, steps: float) -> Iterator[str]:
    """What else bears on an optimizer step, where it is not as usual."""
    factor = over_time(lit.own["lr_factor"], steps)
    if factor != "1":
        yield f"; learning rates times {factor}"
    if (accumulated := trainer.get("accumulate_grad_batches") or 1) != 1:
        yield f"; a step for every {accumulated} batches"
    if (most := trainer.get("gradient_clip_val")) is not None:
        yield f"; gradients clipped at {most} ({trainer.get('gradient_clip_algorithm') or 'norm'})"
    if (precision := str(trainer.get("precision") or "32-true")) not in ("32", "32-true"):
        yield f"; precision {precision}"


def course(term: nn.Module, steps: float) -> str:
    """A term's weight, and whatever else of it may change, by name: ``30; capacity 0, 10, 10``."""
    others = [
        f"; {short_name(name)} {over_time(module.reading, steps)}"
        for name, module in term.named_modules()
        if hasattr(module, "reading") and module is not term.weight
    ]
    return over_time(term.weight, steps) + "".join(others)  # type: ignore[arg-type]


def over_time(value: Callable[[int], Any], steps: float) -> str:
    """A function of the step at the first, the middle and the last; once where it does not change."""
    moments = [0, *((int(steps) // 2, max(int(steps) - 1, 0)) if math.isfinite(steps) else ())]
    with torch.no_grad():
        values = [f"{float(value(step)):.4g}" for step in moments]
    return values[0] if len(set(values)) == 1 else ", ".join(values)


def named(node: Any) -> str:
    """A node of the config as a call: ``KL(weight=Linear(stop=4.0))``."""
    if isinstance(node, Mapping) and "_target_" in node:
        arguments = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
        inner = ", ".join(f"{key}={named(value)}" for key, value in arguments.items())
        return f"{str(node['_target_']).rpartition('.')[2]}({inner})"
    if isinstance(node, Mapping):
        return "{" + ", ".join(f"{key}: {named(value)}" for key, value in node.items()) + "}"
    if isinstance(node, Sequence) and not isinstance(node, str):
        return f"[{', '.join(map(named, node))}]"
    return "null" if node is None else str(node)


def shape(tensor: Tensor, leading: int = 1) -> str:
    """One image's part of a batch: (B, 1, 8, 8) -> ``1x8x8``."""
    return "x".join(map(str, tensor.shape[leading:]))


def parameters(module: nn.Module) -> str:
    """How many numbers are learned in it."""
    return f"{sum(parameter.numel() for parameter in module.parameters()):,}"
