"""Checks of config values before torch is imported.

Hydra refuses unknown keys. :data:`CONTRACT` refuses wrong types and numbers out of range, for keys that no
constructor checks under the same name and for those that must be checked before torch is imported. Any other
value is checked by the part that receives it; :func:`vaelab.training.assembly.build` adds the key.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaelab.errors import UserError, first_line, nearest, shown

__all__ = [
    "CONTRACT",
    "Number",
    "OfGroups",
    "OneOf",
    "Rule",
    "check_latents",
    "check_places",
    "check_values",
    "flag",
    "has_latent_map",
    "integer",
    "refuse",
    "resolved",
    "text",
]


class Rule(Protocol):
    """A condition on a value."""

    def fits(self, value: Any) -> bool: ...

    def meaning(self, value: Any) -> str:
        """What the value must be, to follow "must be" in a message."""


LARGEST = 2**63 - 1  # of torch's whole numbers


@dataclass(frozen=True)
class Number:
    """A finite number >= ``least``, or > if ``above``; or one of ``also``; or, if allowed, a schedule."""

    least: float = -math.inf
    whole: bool = False
    above: bool = False
    also: tuple[int | str | None, ...] = ()
    schedule: bool = False
    most: float = math.inf

    def fits(self, value: Any) -> bool:
        if isinstance(value, bool):
            return False
        if value in self.also or (self.schedule and isinstance(value, dict) and "_target_" in value):
            return True
        if not isinstance(value, int if self.whole else int | float) or not math.isfinite(value):
            return False
        if self.whole and abs(value) > LARGEST:
            return False
        return (value > self.least if self.above else value >= self.least) and value <= self.most

    def meaning(self, value: Any) -> str:
        kind = "a whole number" if self.whole else "a number"
        limit = f" {'>' if self.above else '>='} {self.least:g}" if math.isfinite(self.least) else ""
        limit += f" and <= {self.most:,.0f}" if math.isfinite(self.most) else ""
        return kind + limit + "".join(f", or {'null' if other is None else other}" for other in self.also)


@dataclass(frozen=True)
class OfGroups:
    """A list with a ``number`` for each group, or null; or one number for all, if ``alone``."""

    number: Number
    alone: bool = False

    def fits(self, value: Any) -> bool:
        if isinstance(value, list):
            return all(map(self.number.fits, value))
        return value is None or (self.alone and self.number.fits(value))

    def meaning(self, value: Any) -> str:
        number = self.number.meaning(value)
        return f"{f'{number}, or ' if self.alone else ''}a list, each {number}, or null"


@dataclass(frozen=True)
class OneOf:
    """One of ``options``."""

    options: tuple[Any, ...]

    def fits(self, value: Any) -> bool:
        # 1 == True, but 1 is not a flag
        return any(type(value) is type(option) and value == option for option in self.options)

    def meaning(self, value: Any) -> str:
        *names, last = (shown(option) for option in self.options)
        guess = nearest(str(value), [*names, last])
        listed = f"{', '.join(names)} or {last}" if names else last
        return listed + (f" (did you mean {guess}?)" if guess else "")


@dataclass(frozen=True)
class Text:
    """A string or null; also a number, because YAML reads ``name=7`` as one."""

    def fits(self, value: Any) -> bool:
        return value is None or isinstance(value, str | int | float)

    def meaning(self, value: Any) -> str:
        return "a word, or null"


@dataclass(frozen=True)
class FolderName:
    """The name of a folder, not a path; or null."""

    def fits(self, value: Any) -> bool:
        return value is None or (
            isinstance(value, str | int | float)
            and not isinstance(value, bool)
            and re.fullmatch(r"[^/\\~\0][^/\\\0]*", str(value)) is not None
            and str(value) not in (".", "..")
            and str(value) == str(value).strip()
        )

    def meaning(self, value: Any) -> str:
        return "the name of a folder, without / and ~, or null"


@dataclass(frozen=True)
class Place:
    """The path of a folder."""

    def fits(self, value: Any) -> bool:
        usable = isinstance(value, str | int) and not isinstance(value, bool)
        return usable and bool(str(value).strip()) and not str(value).startswith("~")

    def meaning(self, value: Any) -> str:
        return "a folder" + (" (a shell expands ~ only without quotes)" if str(value)[:1] == "~" else "")


@dataclass(frozen=True)
class TrainablePrecision(Text):
    """Any precision but float16 for weights and Adam's averages. Which there are, Lightning says."""

    def fits(self, value: Any) -> bool:
        return super().fits(value) and value != "16-true"

    def meaning(self, value: Any) -> str:
        if value != "16-true":
            return super().meaning(value)
        return "bf16-true, or 16-mixed on a GPU: most of the squares that Adam averages are 0 in float16"


@dataclass(frozen=True)
class Nodes:
    """A list of mappings, or null."""

    def fits(self, value: Any) -> bool:
        return value is None or (isinstance(value, list) and all(isinstance(item, Mapping) for item in value))

    def meaning(self, value: Any) -> str:
        return "a list of nodes, or null"


@dataclass(frozen=True)
class Node:
    """A mapping: a node of the config; or null, if ``optional``."""

    optional: bool = False

    def fits(self, value: Any) -> bool:
        return isinstance(value, Mapping) or (self.optional and value is None)

    def meaning(self, value: Any) -> str:
        return "a node, which has keys of its own" + (", or null" if self.optional else "")


def integer(least: int, *also: int | str | None) -> Number:
    """A whole number >= ``least``, or one of ``also``."""
    return Number(least, whole=True, also=also)


LEVELS = ("value", "start", "stop", "values")  # of a schedule; its other numbers are times and counts

MAPS = ("vaelab.models.conv_map",)  # networks whose latents are maps

flag = OneOf((True, False))
text = Text()
weight = Number(0, schedule=True)
of_groups, floors = OfGroups(weight), OfGroups(weight, alone=True)
layers = Number(1, whole=True, most=1000)  # more would fill the memory object by object

NODES = (
    *("model", "model.objective", "model.posterior", "network", "likelihood", "prior", "data", "data.source"),
    *("optimizer", "trainer", "metrics", "callbacks", "paths", "sweep"),
)
CONTRACT: dict[str, Rule] = {
    **{key: Node() for key in NODES},
    "logger": Node(optional=True),
    "model.needs": Node(optional=True),
    "trainer.plugins": Nodes(),
    "trainer.precision": TrainablePrecision(),
    "model.latent_dim": integer(1),
    "model.weights": OneOf(("best", "last")),
    "model.beta": weight,
    "model.lr_factor": weight,
    "model.capacity": Number(0),  # the value at which a schedule ends
    "model.gamma": weight,
    "model.target_rate": weight,
    "model.target_distortion": Number(schedule=True, also=(None,)),
    "model.target_share": Number(0, above=True),
    "model.free_bits": weight,
    "model.group_beta": of_groups,
    "model.group_free_bits": floors,
    "model.lambda": weight,
    "model.lambda_od": weight,
    "model.lambda_d": weight,
    "model.latent_l2": weight,
    "model.decoder_l2": weight,
    "model.samples": integer(1),
    "model.discriminator.width": integer(1),
    "model.discriminator.depth": layers,
    "model.discriminator.lr": Number(0, above=True),
    "model.commitment": weight,
    "network.attention": flag,
    "network.blocks": Number(0, whole=True, most=1000),
    "prior.transforms": layers,
    "likelihood.optimal": flag,
    "likelihood.per_pixel": flag,
    "data.batch_size": integer(1),
    "data.val_size": integer(0, None),
    "data.train_size": integer(1, None),
    "data.test_size": integer(1, None),
    "data.augment": Node(optional=True),
    "data.augment.flip": flag,
    "data.augment.crop": integer(0),
    "data.scale": OneOf(("none", "standardize", "minmax")),
    "optimizer.lr": Number(0, above=True),
    "optimizer.weight_decay": Number(0),
    "trainer.num_nodes": Number(1, whole=True, most=2**16),
    "trainer.limit_train_batches": Number(0, above=True, also=(None,)),
    "trainer.limit_val_batches": Number(0, also=(None,)),
    "trainer.limit_test_batches": Number(0, also=(None,)),
    "trainer.check_val_every_n_epoch": integer(1, None),
    "trainer.num_sanity_val_steps": integer(-1),
    "trainer.min_epochs": integer(0, None),
    "trainer.min_steps": integer(0, None),
    "trainer.gradient_clip_val": Number(0, also=(None,)),
    "trainer.gradient_clip_algorithm": OneOf(("norm", "value", None)),
    "trainer.deterministic": OneOf((True, False, "warn", None)),
    "trainer.max_epochs": integer(0, None, -1),
    "trainer.max_steps": integer(0, -1),
    "trainer.log_every_n_steps": integer(1),
    "trainer.accumulate_grad_batches": integer(1),
    "logger.mode": OneOf(("offline", "online", "disabled")),
    "logger.init_timeout": Number(0, above=True),
    "logger.finish_timeout": Number(0),
    "callbacks.best.monitor": OneOf(("val/objective",)),
    "callbacks.best.mode": OneOf(("min",)),
    "callbacks.last.every_n_epochs": integer(0),
    "callbacks.last.every_minutes": Number(0, also=(None,)),
    "callbacks.collapse.stop": flag,
    "callbacks.collapse.patience": integer(1),
    "callbacks.early_stopping.patience": integer(1),
    "callbacks.early_stopping.min_delta": Number(0),
    "callbacks.samples.every_n_epochs": integer(0, None, "auto"),
    "callbacks.samples.extras": OneOf((True, False, "auto")),
    "callbacks.samples.animation": flag,
    "callbacks.kl_pictures.draw": OneOf((True, False, "auto")),
    "callbacks.samples.mixture_images": integer(0),
    "callbacks.samples.mixture_components": integer(1),
    "callbacks.latent_map.every_n_epochs": integer(0, None),
    "metrics.aggregate_posterior.images": integer(2),
    "metrics.aggregate_posterior.posteriors": integer(1),
    "metrics.decoder_test.images": integer(2),
    "sweep.name": FolderName(),
    "sweep.resume": flag,
    "compile": OneOf((None, "default", "reduce-overhead", "max-autotune")),
    "steps_at_once": integer(1, None),
    "threads": Number(1, whole=True, also=(None,), most=2**16),
    "seed": Number(0, whole=True, also=(None,), most=2**32 - 1),
    "name": text,
    "group": text,
    "paths.outputs": Place(),
}


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain dictionaries with resolved interpolations.

    Raises:
        UserError: a value is missing, or an interpolation can't be resolved.
    """
    try:
        missing = sorted(OmegaConf.missing_keys(cfg))
        if missing:
            raise UserError(f"{missing[0]} is missing. Give it a value: {missing[0]}=...")
        plain = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        own: BaseException | None = error  # OmegaConf hides the error of a resolver of ours behind its own
        while own is not None and not isinstance(own, UserError):
            own = own.__context__
        if own is not None:
            raise own from None
        place = f"{error.full_key}: " if error.full_key else ""
        raise UserError(f"The config can't be resolved: {place}{first_line(error)}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def check_values(config: Mapping[str, Any]) -> None:
    """Refuse values that break the contract, and parts that the variant does not allow."""
    refuse(config, CONTRACT)
    for key, rule in (("weight", weight), ("group_beta", of_groups), ("free_bits", floors)):
        refuse(config, {f"model.objective.{name}.{key}": rule for name in own_terms(config)})
    check_needs(config)


def check_latents(config: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Refuse a ``model.latent_dim`` of the command line beside a network whose latents are maps."""
    network = config["network"]
    given = [setting for setting in overrides if setting.lstrip("+").startswith("model.latent_dim=")]
    if given and has_latent_map(network):
        raise UserError(
            f"{given[-1]}: the network's latents are maps, with network.channels={network.get('channels')} "
            "numbers at each place. Set that instead."
        )


def has_latent_map(network: Mapping[str, Any]) -> bool:
    """Whether the node ``network`` names a network whose latents are a map, as far as can be told unbuilt."""
    return str(network.get("_target_")) in MAPS


def own_terms(config: Mapping[str, Any]) -> list[str]:
    """The names of the objective's terms that are vaelab's; a user's own may have a negative weight."""
    model = config.get("model")
    terms = model.get("objective") if isinstance(model, Mapping) else None
    return [
        name
        for name, node in (terms or {}).items()
        if isinstance(node, Mapping) and str(node.get("_target_")).startswith("vaelab.")
    ]


def check_places(config: DictConfig) -> None:
    """Refuse folders that can't be meant, before Hydra makes any."""
    places = {"sweep.name": OmegaConf.select(config, "sweep.name", default=None)}
    places["paths.outputs"] = OmegaConf.select(config, "paths.outputs", default=None)
    for key, value in places.items():
        group, name = key.split(".")
        refuse({group: {name: value}}, CONTRACT)


def refuse(config: Mapping[str, Any], contract: Mapping[str, Rule]) -> None:
    """Raise a UserError for the first key of ``contract`` in ``config`` whose value breaks its rule."""
    for key, rule in contract.items():
        value: Any = config
        for name in key.split("."):
            if not isinstance(value, Mapping) or name not in value:
                break
            value = value[name]
        else:
            for place, part, condition in ((key, value, rule), *_levels(key, value, rule)):
                if not condition.fits(part):
                    raise UserError(f"{place}={shown(part)}: must be {condition.meaning(part)}.")


def _levels(key: str, value: Any, rule: Rule) -> Iterator[tuple[str, Any, Rule]]:
    """The numbers between which a schedule in place of ``value`` moves: they have the range of a number.

    So it is with schedules in a list.
    """
    if isinstance(rule, OfGroups):
        items = (
            {f"{key}[{i}]": item for i, item in enumerate(value)} if isinstance(value, list) else {key: value}
        )
        for place, item in items.items():
            yield from _levels(place, item, rule.number)
    if isinstance(rule, Number) and rule.schedule and isinstance(value, Mapping):
        plain = Number(rule.least, above=rule.above)
        for name in LEVELS:
            levels = value.get(name, [])
            for level in levels if isinstance(levels, list) else [levels]:
                yield f"{key}.{name}", level, plain


def check_needs(config: Mapping[str, Any]) -> None:
    """Refuse another part than the one that defines the variant (``model.needs: {group: target}``)."""
    model = config.get("model")
    needs = model.get("needs") if isinstance(model, Mapping) else None
    for group, target in (needs or {}).items():
        part = config.get(group)
        found = part.get("_target_") if isinstance(part, Mapping) else None
        if target not in (None, found):
            raise UserError(
                f"This model needs {group}._target_={target}, but the config has {found}. "
                f"Leave out {group}=..., or choose another model."
            )
