"""Keys of a config that nothing reads, such as a misspelt one in a file of the user's own. No torch.

Hydra refuses unknown keys of the command line, but a YAML file and ``+key=value`` may add any. A node with a
``_target_`` refuses what its class does not take; this module does so for the nodes above: a key there must
be one that the program reads, or another key must name it in an interpolation.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vaelab.cli.paths import conf_dir
from vaelab.errors import UserError, did_you_mean

__all__ = ["NO_MONITOR", "READ", "check_choices", "check_keys"]

# what the program reads itself, by node; conf/ names the rest in interpolations
READ: dict[str, frozenset[str]] = {
    "": frozenset(
        {"callbacks", "compile", "data", "group", "likelihood", "logger", "metrics", "model", "name"}
        | {"network", "optimizer", "paths", "prior", "seed", "steps_at_once", "sweep", "threads", "trainer"}
    ),
    "data": frozenset(
        {"augment", "batch_size", "binarize", "scale", "source", "test_size", "train_size", "val_size"}
    ),
    "model": frozenset(
        {"condition", "corruption", "latent_dim", "lr_factor", "needs", "objective", "posterior"}
        | {"samples", "target_share", "weights"}
    ),
    "paths": frozenset({"data", "outputs"}),
    "sweep": frozenset({"name", "resume"}),
}
NO_MONITOR = (  # a key of earlier versions
    "There is no key 'model.monitor': model.weights=best takes the weights of the least val/objective, "
    "model.weights=last the last."
)
REFERENCE = re.compile(r"\$\{(\.*)([\w.\[\]]+)(?=[}\s])")  # ${a.b}, ${..b}; not a resolver's ${a:b}


def check_keys(cfg: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Refuse a key that nothing reads.

    A key of one of our own files is exempt unless it is among the settings of the command line: a variant of
    the user's own may inherit it and replace what reads it.

    Args:
        cfg: the composed config, its interpolations not resolved.
        overrides: the settings of the command line.

    Raises:
        UserError: names the first such key and the nearest one that is read.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=False)
    named = set(_references(plain, ()))
    given = {setting.partition("=")[0].lstrip("+") for setting in overrides}
    for node, known in READ.items():
        settings = plain.get(node) if node else plain
        for name in settings if isinstance(settings, Mapping) else ():
            key = f"{node}.{name}" if node else str(name)
            if name in known or any(_meet(key, other) for other in named):
                continue
            if key not in given and name in _keys_of_files(node):
                continue
            if key == "model.monitor":
                raise UserError(NO_MONITOR)
            others = known | {other for other in settings if other != name}
            elsewhere = sorted(other for other in _keys(plain) if other.rpartition(".")[2] == name != other)
            hint = f"Did you mean {elsewhere[0]!r}?" if elsewhere and not node else did_you_mean(name, others)
            raise UserError(
                f"Nothing reads the key {key!r}. {hint} A key of your own must be used in another: ${{{key}}}"
            )


@cache
def _keys_of_files(group: str) -> frozenset[str]:
    """The keys at the top of our own files in a group."""
    files = (conf_dir() / group).glob("*.yaml") if group else ()
    return frozenset(str(key) for file in files for key in OmegaConf.load(file))


def check_choices(cfg: DictConfig, choices: Mapping[str, Any]) -> None:
    """Refuse a schedule that another setting of the same command replaces.

    Args:
        choices: the options of Hydra's groups, such as ``schedule@model.beta: linear``.

    Raises:
        UserError: names both settings.
    """
    for choice, option in choices.items():
        group, _, key = str(choice).partition("@")
        value = OmegaConf.select(cfg, key) if group == "schedule" and option else {}
        if not OmegaConf.is_config(value) and not isinstance(value, Mapping):
            raise UserError(
                f"+schedule@{key}={option} and {key}={value} exclude each other: give the schedule its "
                f"numbers, such as {key}.stop={value}, or leave one out."
            )


def _references(node: Any, path: tuple[str, ...]) -> Iterator[str]:
    """The full keys that the interpolations in ``node``, which is at ``path``, name."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _references(value, (*path, str(name)))
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _references(value, (*path, str(place)))
    elif isinstance(node, str):
        for dots, key in REFERENCE.findall(node):
            above = path[: len(path) - len(dots)] if dots else ()
            yield ".".join((*above, key.replace("[", ".").replace("]", "")))


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    for name, value in node.items() if isinstance(node, Mapping) else ():
        yield f"{prefix}{name}"
        yield from _keys(value, f"{prefix}{name}.")


def _meet(one: str, other: str) -> bool:
    """Whether one key is the other, or lies above or below it."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")
