"""``vaelab-train ... --explain``: describe the run that a command would train, without training it."""

import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import open_dict

from vaelab.cli.checks import check_latents, check_values, resolved
from vaelab.cli.compose import composed
from vaelab.cli.paths import importable
from vaelab.cli.unread import check_keys
from vaelab.errors import UserError
from vaelab.runs.naming import as_call, as_written
from vaelab.runs.tables import text_table

if TYPE_CHECKING:
    from vaelab.training.summary import PartSummary, Summary, TermSummary

__all__ = ["explanation"]


def explanation(options: Namespace) -> str:
    """The description of the run with the options that :func:`vaelab.cli.listing.parse` returns.

    Raises:
        UserError: the settings describe a sweep, or contain a mistake.
    """
    settings = OverridesParser.create().parse_overrides(options.settings)
    if options.multirun or any(setting.is_sweep_override() for setting in settings):
        raise UserError("--explain shows one run: leave out -m, and give every key one value.")
    cfg = composed(options.config_name, options.settings, options.config_dir, with_hydra=True)
    choices, swept = cfg.hydra.runtime.choices, None
    if cfg.hydra.mode == RunMode.MULTIRUN:  # a file such as sweep=beta
        swept = as_written(cfg.hydra.sweeper.params)
    with open_dict(cfg):
        del cfg["hydra"]
    check_keys(cfg, options.settings)
    config = resolved(cfg)
    check_values(config)
    check_latents(config, options.settings)
    from vaelab.training.summary import summary  # imports torch and Lightning

    importable([options.config_dir] if options.config_dir else [])
    text = as_text(config, summary(config), f"{choices['model']} on {choices['data']}")
    if swept:
        values = " ".join(f"{key}={value}" for key, value in swept.items())
        text += f"\nOne job of a sweep is shown. Swept: {values}"
    return text


def as_text(config: Mapping[str, Any], made: "Summary", title: str) -> str:
    """A summary as text, with the parts and arguments of the config."""
    data = made.data
    low, high = data["value_range"]
    binarize = config["data"].get("binarize") or "none"
    length = f"{made.steps:,.0f} steps" if math.isfinite(made.steps) else "no last step"
    nodes = {
        **dict.fromkeys(("encoder", "decoder"), config["network"]),
        **{name: config["model"].get(name) for name in ("condition", "corruption", "posterior")},
        **{name: config[name] for name in ("prior", "likelihood")},
    }
    lines = {
        "data": f"{data['train']:,} train, {data['val']:,} val, {data['test']:,} test images of "
        f"{size_text(data['image_shape'])} in [{low:g}, {high:g}]"
        + (f", binarised ({binarize})" if binarize != "none" else "")
        + (f", scaled ({scaling['mode']})" if (scaling := data.get("scaling")) else ""),
        "training": f"{length}, {made.batches:,} batches of {made.batch_size} an epoch; "
        f"{as_call(config['optimizer'])}{step_details(config['trainer'], made)}",
        "weights": f"measured at the {measured_weights(config, made)}",
        "measured": ", ".join(made.metrics),
        "objective": f"the sum of weight times term, a mean over images; {made.samples} "
        f"{'sample' if made.samples == 1 else 'samples'} of z an image",
    }
    return "\n".join(
        [
            f"{title}: {made.parameters:,} parameters. Nothing is trained, nothing is written.",
            "",
            *(f"{name:10} {line}" for name, line in lines.items()),
            "",
            text_table(
                ["part", "", "shapes of one image", "parameters"],
                [part_row(name, nodes[name], part) for name, part in made.parts.items()],
            ),
            "",
            text_table(
                ["term", "", "weight at the first, middle, last step", "parameters"],
                [term_row(name, config["model"]["objective"][name], t) for name, t in made.terms.items()],
            ),
        ]
    )


def measured_weights(config: Mapping[str, Any], made: "Summary") -> str:
    """Which weights the run would measure, and why."""
    if config["model"].get("weights") == "last":
        return "last"
    if not made.data["val"] or config["trainer"].get("limit_val_batches") == 0:
        return "last, as there are no validation images"
    if not (config.get("callbacks") or {}).get("best"):
        return "last, as callbacks.best is left out"
    return "best, of the least val/objective"


def part_row(name: str, node: Any, part: "PartSummary") -> list[str]:
    return [name, as_call(node), " -> ".join(map(size_text, part.shapes)), f"{part.parameters:,}"]


def term_row(name: str, node: Any, term: "TermSummary") -> list[str]:
    others = "".join(f"; {key} {listed(values)}" for key, values in term.others.items())
    # the weight of a multi-rate model has no value of its own
    weight = "drawn for each image" if math.isnan(term.weight[0]) else listed(term.weight)
    return [name, as_call(node), weight + others, f"{term.parameters:,}"]


def step_details(trainer: Mapping[str, Any], made: "Summary") -> str:
    """The further settings of an optimizer step that differ from their defaults."""
    text = ""
    if (factor := listed(made.learning_rate_factor)) != "1":
        text += f"; learning rates times {factor}"
    if (accumulated := trainer.get("accumulate_grad_batches") or 1) != 1:
        text += f"; a step for every {accumulated} batches"
    if (most := trainer.get("gradient_clip_val")) is not None:
        text += f"; gradients clipped at {most} ({trainer.get('gradient_clip_algorithm') or 'norm'})"
    if (precision := str(trainer.get("precision") or "32-true")) not in ("32", "32-true"):
        text += f"; precision {precision}"
    return text


def size_text(shape: Sequence[int]) -> str:
    """``(1, 8, 8)`` -> ``1x8x8``."""
    return "x".join(map(str, shape))


def listed(values: Sequence[float]) -> str:
    """The values of a schedule, or one value if they are equal."""
    texts = [f"{value:.4g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)
