"""Hydra's errors in plain words, with the nearest valid name for a typo. Light."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import (
    ConfigCompositionException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import OmegaConf

from vaelab.cli.paths import conf_dir
from vaelab.errors import UserError, did_you_mean, nearest


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, what that was raised from, ..."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def explain(error: BaseException, arguments: list[str] | None = None, root: str = "train") -> str:
    """One or two lines: which key is wrong, and what would be right. ``root``: the config it is not in."""
    for cause in causes(error):
        if isinstance(cause, UserError):
            return str(cause)
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, MissingConfigException):
        return _unknown_option(error)
    if isinstance(error, OverrideParseException):
        return (
            f"Can't read {error.override!r}. Settings are key=value; quote values with special characters: "
            f"'name=\"a(b)\"'"
        )
    if isinstance(error, ConfigCompositionException):
        if "--multirun" in str(error):
            return f"{first}. To sweep over several values put -m first; quote a value that has a comma."
        key = re.search(r"Could not (?:override|delete from config\.) '([^']+)'", str(error))
        if key:
            return unknown_key(key.group(1), arguments or [], root)
        return " ".join([first, *(str(cause).splitlines()[0] for cause in list(causes(error))[1:])])
    if isinstance(error, InstantiationException):
        place = re.search(r"full_key: (\S+)", str(error))
        reason = error.__cause__ or error
        text = str(reason).strip().splitlines()[0] if str(reason).strip() else type(reason).__name__
        return f"{place.group(1)}: {text}" if place else text
    return first


def unknown_key(key: str, arguments: list[str], root: str = "train") -> str:
    """``model.bta`` -> which key was probably meant, or which there are at that place."""
    if key == "wandb":
        return "conf/wandb/ holds files for 'wandb sweep', not settings."
    if "/" in key and (conf_dir() / key).is_dir():  # a group such as model/corruption
        return f"This model has no {key} to replace. To give it one: +{key}=..."
    keys = known_keys(arguments, without=key, root=root)
    if key in keys:  # of the default option, but not of one that is swept over
        return f"Not every option of this sweep has the key {key!r}."
    parent, _, name = key.rpartition(".")
    siblings = {k.rpartition(".")[2]: k for k in keys if k.rpartition(".")[0] == parent}
    guess = nearest(name, siblings)
    if guess is not None:
        return f"There is no key {key!r}. Did you mean {siblings[guess]!r}?"
    if parent and siblings:
        return f"There is no key {key!r}. {parent!r} has: {', '.join(sorted(siblings))}."
    return f"There is no key {key!r}. {did_you_mean(key, keys)}"


def known_keys(arguments: list[str], without: str, root: str = "train") -> set[str]:
    """Every key of the config that the other arguments compose, and the names of its groups."""
    overrides = [
        argument
        for argument in arguments
        if not argument.startswith("-") and "=" in argument and argument.split("=")[0].lstrip("+~") != without
    ]
    # values that are sweeps stay unread: they may be lists, and only the keys matter
    for candidate in ([o for o in overrides if "," not in o], []):
        try:
            if GlobalHydra.instance().is_initialized():
                GlobalHydra.instance().clear()
            with initialize_config_dir(str(conf_dir()), version_base="1.3"):
                cfg = compose(root, overrides=candidate)
            return set(_keys(OmegaConf.to_container(cfg))) | {
                folder.name for folder in Path(conf_dir()).iterdir() if folder.is_dir()
            }
        except Exception:  # a second mistake among the arguments: answer from the defaults
            continue
    return set()


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")


def _unknown_option(error: MissingConfigException) -> str:
    missing = error.missing_cfg_file or ""
    group, _, option = missing.rpartition("/")
    choices = [choice for choice in error.options or () if not choice.startswith("_")]  # _base is no option
    if choices:
        return f"{group}={option}: there is no such option. {did_you_mean(option, choices)}"
    return str(error).strip().splitlines()[0]
