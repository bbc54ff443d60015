"""What the config's values must be, checked before anything heavy is imported.

Hydra refuses unknown keys; this refuses wrong types and numbers out of range, in one voice. Every key of
the config contract stands in :data:`CONTRACT`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaelab.errors import UserError, nearest

Check = Callable[[Any], str | None]  # a value -> what would be right, or None if it is right


def integer(least: int, also: tuple[int | None, ...] = ()) -> Check:
    """A whole number of at least ``least``, or one of ``also``."""

    def check(value: Any) -> str | None:
        if value is None and None in also:
            return None
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or (value < least and value not in also):
            others = "".join(", or null" if other is None else f", or {other}" for other in also)
            return f"a whole number >= {least}{others}"
        return None

    return check


def number(least: float = 0.0, above: bool = False, or_null: bool = False) -> Check:
    """A finite number of at least, or above, ``least``."""

    def check(value: Any) -> str | None:
        if value is None and or_null:
            return None
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if fits and (value > least if above else value >= least):
            return None
        return f"a number {'>' if above else '>='} {least:g}{', or null' if or_null else ''}"

    return check


def number_or_node(value: Any) -> str | None:
    """A number >= 0, or a node with a ``_target_``: a schedule."""
    if isinstance(value, dict) and "_target_" in value:
        return None
    return number()(value)


def any_number_or_node(value: Any) -> str | None:
    """A finite number, or a node with a ``_target_``: a schedule."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return None if number_or_node(abs(value) if plain else value) is None else "a number"


def share(value: Any) -> str | None:
    """A number from 0 to 1."""
    fits = number()(value) is None and value <= 1
    return None if fits else "a number from 0 to 1"


def decay(value: Any) -> str | None:
    """A number from 0 to below 1."""
    fits = share(value) is None and value < 1
    return None if fits else "a number from 0 to below 1"


def flag(value: Any) -> str | None:
    """True or false."""
    return None if isinstance(value, bool) else "true or false"


def one_of(*options: str) -> Check:
    """One of a few words."""

    def check(value: Any) -> str | None:
        if value in options:
            return None
        guess = nearest(str(value), options)
        return f"one of {', '.join(options)}" + (f" (did you mean {guess}?)" if guess else "")

    return check


def widths(value: Any) -> str | None:
    """A list of layer widths."""
    if isinstance(value, list) and all(integer(1)(width) is None for width in value):
        return None
    return "a list of whole numbers >= 1, such as [400]"


def text(value: Any) -> str | None:
    """A word or null. YAML reads a bare number as a number; as a name it will do."""
    return None if value is None or isinstance(value, str | int | float) else "a word, or null"


CONTRACT: dict[str, Check] = {
    "model.latent_dim": integer(1),
    "model.beta": number_or_node,
    "model.lr_factor": number_or_node,
    "model.capacity": number(),
    "model.gamma": number_or_node,
    "model.target_rate": number_or_node,
    "model.target_distortion": any_number_or_node,
    "model.free_bits": number_or_node,
    "model.lambda": number_or_node,
    "model.lambda_od": number_or_node,
    "model.lambda_d": number_or_node,
    "model.latent_l2": number_or_node,
    "model.decoder_l2": number_or_node,
    "model.estimator": one_of("mss", "mws"),
    "model.gradient": one_of("standard", "dreg"),
    "model.samples": integer(1),
    "model.discriminator.width": integer(1),
    "model.discriminator.depth": integer(1),
    "model.discriminator.lr": number(above=True),
    "model.codes": integer(2),
    "model.code_dim": integer(1),
    "model.commitment": number_or_node,
    "model.decay": decay,
    "prior.decay": decay,
    "prior.components": integer(1),
    "prior.transforms": integer(1),
    "model.corruption.sigma": number(),
    "model.corruption.share": share,
    "network.hidden": widths,
    "network.blocks": integer(0),
    "network.dense": integer(1),
    "likelihood.sigma": number(above=True),
    "likelihood.least": number(above=True),
    "likelihood.scale": number(above=True),
    "likelihood.optimal": flag,
    "likelihood.per_pixel": flag,
    "data.batch_size": integer(1),
    "data.val_size": integer(0),
    "data.train_size": integer(1, also=(None,)),
    "data.test_size": integer(1, also=(None,)),
    "data.size": integer(8),
    "data.binarize": one_of("none", "threshold", "static", "dynamic"),
    "optimizer.lr": number(above=True),
    "optimizer.weight_decay": number(),
    "trainer.max_epochs": integer(0, also=(None, -1)),
    "trainer.max_steps": integer(0, also=(-1,)),
    "trainer.log_every_n_steps": integer(1),
    "trainer.accumulate_grad_batches": integer(1),
    "logger.mode": one_of("offline", "online", "disabled"),
    "logger.init_timeout": number(above=True),
    "logger.finish_timeout": number(),
    "callbacks.last.every_n_epochs": integer(0),
    "callbacks.last.every_minutes": number(or_null=True),
    "callbacks.collapse.stop": flag,
    "callbacks.collapse.patience": integer(1),
    "metrics.aggregate_posterior.images": integer(2),
    "metrics.decoder_test.images": integer(2),
    "callbacks.samples.every_n_epochs": integer(0, also=(None,)),
    "callbacks.samples.images": integer(1),
    "callbacks.samples.density_images": integer(0),
    "callbacks.samples.density_components": integer(1),
    "callbacks.latent_map.every_n_epochs": integer(0, also=(None,)),
    "callbacks.latent_map.images": integer(1),
    "callbacks.latent_map.projection": one_of("pca", "umap"),
    "sweep.name": text,
    "sweep.resume": flag,
    "threads": integer(1, also=(None,)),
    "seed": integer(0, also=(None,)),
    "name": text,
    "group": text,
    "paths.outputs": text,
}


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain dictionaries, interpolations resolved; a UserError where that can't be done."""
    try:
        missing = sorted(OmegaConf.missing_keys(cfg))
        if missing:
            raise UserError(f"{missing[0]} is missing. Give it a value: {missing[0]}=...")
        plain = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"The config can't be resolved: {str(error).splitlines()[0]}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def check_values(config: dict[str, Any]) -> None:
    """Hold the config against the contract, and the parts of a variant against those chosen."""
    refuse(config, CONTRACT)
    check_needs(config)


def refuse(config: Mapping[str, Any], contract: Mapping[str, Check]) -> None:
    """Hold the keys of ``contract`` that the config has against their checks; a UserError for the first."""
    for key, check in contract.items():
        value: Any = config
        *groups, last = key.split(".")
        for group in groups:
            value = value.get(group) if isinstance(value, dict) else None
        if not isinstance(value, dict) or last not in value:
            continue
        right = check(value[last])
        if right is not None:
            shown = "null" if value[last] is None else value[last]
            raise UserError(f"{key}={shown} does not fit: it must be {right}.")


def check_needs(config: dict[str, Any]) -> None:
    """Hold the parts that a variant is defined by, ``model.needs: {group: target}``, against those chosen."""
    model = config.get("model")
    needs = model.get("needs") if isinstance(model, dict) else None
    for group, target in (needs or {}).items():
        part = config.get(group)
        found = part.get("_target_") if isinstance(part, dict) else None
        if target not in (None, found):
            raise UserError(
                f"This model is defined by a {group} of its own, {target}, but {found} was chosen. "
                f"Leave out {group}=..., or choose another model."
            )
