"""The options of config groups in a command line's settings: what there is, and what is none. No torch."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob
from hydra.errors import HydraException

from vaelab.cli.paths import conf_dir
from vaelab.errors import MOST_NAMES, UserError, did_you_mean, nearest, shown

__all__ = ["check_options", "no_such_option"]

NEEDED = (
    *("model", "network", "likelihood", "prior", "data"),
    *("optimizer", "trainer", "metrics", "callbacks", "logger"),
)
OPTIONAL = ("experiment", "sweep")  # groups of which no option is chosen by default


def check_options(settings: Iterable[str]) -> None:
    """Refuse what leaves a group without an option: a value that is no name, as in ``network=null``.

    Hydra's own error for it is one that it does not foresee either. What Hydra can't parse it refuses later.

    Raises:
        UserError: names the setting and the options of the group.
    """
    for setting in settings:
        if setting.startswith("-") or not (setting.startswith("~") or "=" in setting):
            continue
        try:
            override = OverridesParser.create().parse_override(setting)
        except HydraException:
            continue
        group, value = override.key_or_group, override.value()
        if not (conf_dir() / group).is_dir():
            continue
        if override.is_delete():
            if group in NEEDED:
                raise UserError(f"~{group}: it can't be left out. {_listed(group)}.")
            continue
        for choice in value.list if isinstance(value, ChoiceSweep) else [value]:
            if not _may_be_option(choice):
                none = ", or leave it out for none" if group in OPTIONAL else ""
                text = f"{group}={shown(choice)}: must be the name of an option."
                raise UserError(f"{text} {_listed(group)}{none}.")


def _listed(group: str) -> str:
    """The group's own options, or where to find them if they are many."""
    names = [name for name in all_options(group) if "/" not in name]
    return f"One of {', '.join(names)}" if len(names) <= MOST_NAMES else f"See --list {group}"


def _may_be_option(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_may_be_option, value))
    return isinstance(value, str | Glob)  # a quoted string is a str too


def all_options(group: str) -> list[str]:
    """The options of a group in conf/, those of its folders as ``folder/name``."""
    folder = conf_dir() / group
    names = (file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml"))
    return sorted(name for name in names if not last(name).startswith("_"))  # _base is no option


def no_such_option(missing: str, direct: Sequence[str], settings: Iterable[str] = ()) -> str:
    """The message for an option that does not exist: the most similar one, or those beside it.

    Args:
        missing: what Hydra has looked for, such as ``experiment/published/typo``.
        direct: the options that Hydra has found there, those of the user's own folders among them.
        settings: the command line's, which say what of ``missing`` is the group.
    """
    group, _, option = missing.rpartition("/")
    for given, value in _choices(settings):
        if missing == f"{given}/{value}":
            group, option = given, value
    folder, _, name = option.rpartition("/")
    # model/corruption is a group of its own; experiment/published holds options of experiment
    valid = {other for other in all_options(group) if "/" not in other or group != "model"}
    valid |= {other for other in direct if not other.startswith("_")}
    beside = {last(other): other for other in valid if other.rpartition("/")[0] == folder}
    text = f"{group}={option}: there is no such option."
    for names in (beside, {} if folder and beside else {last(other): other for other in valid}):
        if (guess := nearest(name, names)) is not None:
            return f"{text} Did you mean {names[guess]!r}?"
    if folder and beside:
        return f"{text} Valid names: {', '.join(sorted(beside.values()))}."
    return f"{text} {did_you_mean(option, beside.values() or valid)}"


def last(name: str) -> str:
    return name.rpartition("/")[2]


def _choices(settings: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The groups and the names of the options that settings choose, of a sweep each."""
    for setting in settings:
        group, _, values = setting.partition("=")
        for value in values.split(","):
            yield group.lstrip("+").partition("@")[0], value.strip()
