"""``vaelab-train --list``: the options of each config group. Also parses ``--list`` and ``--explain``.

Hydra's parser refuses unknown flags, so the command calls :func:`answer` before Hydra.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from vaelab.cli.compose import config_folder
from vaelab.cli.explain import explanation
from vaelab.cli.paths import conf_dir
from vaelab.errors import UserError, did_you_mean

__all__ = ["answer", "is_asked", "listing", "options"]

LIST, EXPLAIN = "--list", "--explain"

# the groups from which a variant is assembled; the others configure its training and its output
PARTS = ("model", "model/corruption", "model/objective", "network", "likelihood", "prior", "schedule", "data")
OTHERS = ("wandb", "eval")  # conf/wandb is read by `wandb sweep`, conf/eval by vaelab-evaluate


def is_asked(arguments: Iterable[str]) -> bool:
    """Whether the command line contains ``--list`` or ``--explain``."""
    return not {LIST, EXPLAIN}.isdisjoint(arguments)


def answer(arguments: list[str]) -> None:
    """Print the answer to a command line with ``--list`` or ``--explain``."""
    parsed = parse(arguments)
    if not parsed.list:
        print(explanation(parsed))
        return
    added = [] if parsed.config_dir is None else [config_folder(parsed.config_dir)]
    print(listing([conf_dir(), *added], [setting for setting in parsed.settings if "=" not in setting]))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the part of Hydra's command line that ``--list`` and ``--explain`` support."""
    parser = argparse.ArgumentParser(prog="vaelab-train", add_help=False, exit_on_error=False)
    parser.add_argument("settings", nargs="*")
    parser.add_argument(LIST, action="store_true")
    parser.add_argument(EXPLAIN, action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--config-name", "-cn", default="train")
    try:
        parsed, unknown = parser.parse_known_intermixed_args(arguments)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}.") from None
    if unknown:
        raise UserError(f"{unknown[0]} can't be combined with {LIST} or {EXPLAIN}.")
    return parsed


def listing(roots: Iterable[Path], chosen: Iterable[str] = ()) -> str:
    """The options of the chosen groups (PARTS if none is chosen), each with its one-line description.

    ``vaelab-train --list`` and ``vaelab-train --list network trainer``.

    Raises:
        UserError: there is no such group.
    """
    groups = options(roots)
    unknown = [name for name in chosen if name not in groups]
    if unknown:
        raise UserError(f"{LIST} {unknown[0]}: there is no such group. {did_you_mean(unknown[0], groups)}")
    shown = list(chosen) or [name for name in PARTS if name in groups]
    width = max((len(option) for name in shown for option in groups[name]), default=0)
    blocks = [
        "\n".join([name, *(f"  {option:{width}}  {line}" for option, line in sorted(groups[name].items()))])
        for name in shown
    ]
    others = [name for name in sorted(groups) if name not in shown]
    if others and not chosen:
        blocks.append(f"Other groups ({LIST} GROUP shows one): {', '.join(others)}.")
    blocks.append("Choose with GROUP=OPTION; what that makes: vaelab-train GROUP=OPTION ... --explain")
    return "\n\n".join(blocks)


def options(roots: Iterable[Path]) -> dict[str, dict[str, str]]:
    """group -> option -> its one-line description, for every folder of YAML files below ``roots``.

    A file whose name begins with ``_`` is the base of others and not an option. If two roots have the same
    option, the first one counts, as in Hydra.
    """
    groups: dict[str, dict[str, str]] = {}
    for root in roots:
        for file in sorted(root.rglob("*.yaml")):
            group = file.parent.relative_to(root).as_posix()
            if group != "." and group.split("/")[0] not in OTHERS and not file.stem.startswith("_"):
                groups.setdefault(group, {}).setdefault(file.stem, one_line(file))
    return groups


def one_line(file: Path) -> str:
    """The text of the file's first comment, ``# name: text``; empty if the file does not begin with one."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# @package"):
            text = line.removeprefix("#").strip() if line.startswith("#") else ""
            return text.removeprefix(f"{file.stem}:").strip()
    return ""
