"""Short messages for Hydra's errors, with the most similar valid name for a typo. No torch."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.errors import (
    ConfigCompositionException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import OmegaConf

from vaelab.cli.compose import composed
from vaelab.cli.options import no_such_option
from vaelab.cli.paths import conf_dir
from vaelab.cli.unread import NO_MONITOR
from vaelab.errors import UserError, causes, did_you_mean, first_line, nearest, reason

FIRST = ("model", "optimizer", "data", "trainer", "likelihood", "prior", "network", "logger", "callbacks")
"""The nodes whose keys may be meant without their node, as in ``lr=0.1``, the likeliest first."""

FITTED_AFTERWARDS = ("pixelcnn", "code_prior")
"""What ``prior`` is sometimes expected to offer: the prior that is no part of the training."""

__all__ = ["error_text", "known_keys", "unknown_key"]


def error_text(error: BaseException, settings: Sequence[str] = (), root: str = "train") -> str:
    """A message of one or two lines: which key is wrong, and what would be right.

    Args:
        settings: those of the command line, or of a call from Python.
        root: the config in conf/ into which the settings were composed.
    """
    if any(isinstance(cause, UserError) for cause in causes(error)):
        return reason(error)
    if isinstance(error, MissingConfigException):
        return _unknown_option(error, settings)
    if isinstance(error, OverrideParseException):
        return (
            f"Can't read {error.override!r}. Settings are key=value; quote values with special characters: "
            f"'name=\"a(b)\"'"
        )
    if isinstance(error, ConfigCompositionException):
        if "--multirun" in str(error):
            advice = "To sweep over several values put -m first; quote a value that has a comma."
            return f"{first_line(error)}. {advice}"
        key = re.search(r"Could not (?:override|delete from config\.) '([^']+)'", str(error))
        if key:
            return unknown_key(key.group(1), settings, root)
        return " ".join(map(first_line, causes(error)))
    if isinstance(error, InstantiationException):
        place = re.search(r"full_key: (\S+)", str(error))
        text = first_line(error.__cause__ or error)
        return f"{place.group(1)}: {text}" if place else text
    return reason(error)


def unknown_key(key: str, settings: Sequence[str] = (), root: str = "train") -> str:
    """The message for a key that does not exist: the most similar key, or the keys beside it."""
    if key == "wandb":
        return "conf/wandb/ holds files for 'wandb sweep', not settings."
    if f"{key}.".startswith("model.monitor."):
        return NO_MONITOR
    if "/" in key and (conf_dir() / key).is_dir():  # a group such as model/corruption
        return f"This model has no {key} to replace. To give it one: +{key}=..."
    keys = known_keys(settings, without=key, root=root)
    if key in keys:  # of the default option, but not of one that is swept over
        return f"Not every option of this sweep has the key {key!r}."
    parent, _, name = key.rpartition(".")
    elsewhere = [other for node in FIRST for other in (f"{node}.{key}",) if other in keys]
    if elsewhere:
        return f"There is no key {key!r}. Did you mean {elsewhere[0]!r}?"
    siblings = {k.rpartition(".")[2]: k for k in keys if k.rpartition(".")[0] == parent}
    guess = nearest(name, siblings)
    if guess is not None:
        return f"There is no key {key!r}. Did you mean {siblings[guess]!r}?"
    if parent and siblings:
        return f"There is no key {key!r}. {parent!r} has: {', '.join(sorted(siblings))}."
    ends = {k.rpartition(".")[2]: k for node in reversed(FIRST) for k in keys if k.rpartition(".")[0] == node}
    guess = None if parent or nearest(key, keys) else nearest(key, ends)
    hint = did_you_mean(key, keys) if guess is None else f"Did you mean {ends[guess]!r}?"
    return f"There is no key {key!r}. {hint}"


def known_keys(settings: Sequence[str], without: str, root: str = "train") -> set[str]:
    """The config groups and every key of the config that the settings compose, except the one ``without``."""
    groups = {folder.name for folder in conf_dir().iterdir() if folder.is_dir()}
    others = [
        setting
        for setting in settings
        if not setting.startswith("-") and "=" in setting and setting.split("=")[0].lstrip("+~") != without
    ]
    # a setting with a comma is left out: it may be a sweep, and the keys alone matter
    for candidate in ([setting for setting in others if "," not in setting], []):
        try:
            return groups | set(_keys(OmegaConf.to_container(composed(root, candidate))))
        except Exception:  # a second mistake among the settings: answer from the defaults
            continue
    return groups


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")


def _unknown_option(error: MissingConfigException, settings: Sequence[str]) -> str:
    missing, choices = error.missing_cfg_file or "", error.options or ()
    group, _, option = missing.rpartition("/")
    if group == "prior" and nearest(option.lower(), {*choices, *FITTED_AFTERWARDS}) in FITTED_AFTERWARDS:
        return (
            f"prior={option}: there is no such option. A PixelCNN is fitted to the codes of a trained run: "
            "vaelab-evaluate RUN eval=code_prior"
        )
    return no_such_option(missing, choices, settings) if choices else first_line(error)
