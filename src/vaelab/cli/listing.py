"""What there is to choose from (``--list``), and what a command would train (``--explain``).

Hydra's own parser refuses flags that it does not know, so the command line comes here before it. Light
until a config has passed its checks, as the command line is.
"""

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from vaelab.cli.checks import check_values, resolved
from vaelab.cli.paths import conf_dir
from vaelab.errors import UserError, did_you_mean

LIST, EXPLAIN = "--list", "--explain"

# what a variant is put together from; the other groups say how it is trained and shown
PARTS = ("model", "model/corruption", "network", "likelihood", "prior", "schedule", "data")
OTHERS = ("wandb", "eval")  # conf/wandb is read by `wandb sweep`, conf/eval by vaelab-evaluate


def is_asked(arguments: Iterable[str]) -> bool:
    """Does this command line ask for something that this module answers?"""
    return not {LIST, EXPLAIN}.isdisjoint(arguments)


def answer(arguments: list[str]) -> None:
    """Print what the command line, which has ``--list`` or ``--explain`` in it, asks for."""
    settings = get_args_parser().parse_args([a for a in arguments if a not in (LIST, EXPLAIN)])
    if LIST in arguments:
        print(listing(_roots(settings), [word for word in settings.overrides if "=" not in word]))
    else:
        print(explanation(settings))


# --list


def listing(roots: Iterable[Path], chosen: Iterable[str] = ()) -> str:
    """Each option of the chosen groups (PARTS, and the user's own, if none is) with its one line.

    ``vaelab-train --list`` and ``vaelab-train --list network trainer``.
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
    """group -> option -> its one line, of every folder of YAML files below the ``roots``.

    A file whose name begins with ``_`` is the base of others, not an option. Where two roots have the same
    option, the first is Hydra's choice and ours.
    """
    groups: dict[str, dict[str, str]] = {}
    for root in roots:
        for file in sorted(root.rglob("*.yaml")):
            group = file.parent.relative_to(root).as_posix()
            if group != "." and group.split("/")[0] not in OTHERS and not file.stem.startswith("_"):
                groups.setdefault(group, {}).setdefault(file.stem, one_line(file))
    return groups


def one_line(file: Path) -> str:
    """The file's first comment, ``# name: text``, without the name; empty if it does not begin with one."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# @package"):
            text = line.removeprefix("#").strip() if line.startswith("#") else ""
            return text.removeprefix(f"{file.stem}:").strip()
    return ""


def _roots(settings: Namespace) -> list[Path]:
    """Our folder of configs, and the user's own if ``--config-dir`` is given."""
    roots = [conf_dir()]
    if settings.config_dir:
        roots.append(Path(settings.config_dir).absolute())
        if not roots[-1].is_dir():
            raise UserError(f"--config-dir {settings.config_dir}: there is no such folder.")
    return roots


# --explain


def explanation(settings: Namespace) -> str:
    """The assembly of the run that these settings describe; it is built, not trained, and nothing written."""
    cfg = composed(settings)
    choices, swept = cfg.hydra.runtime.choices, {}
    if cfg.hydra.mode == RunMode.MULTIRUN:  # a file such as sweep=beta
        swept = dict(cfg.hydra.sweeper.params or {})
    with open_dict(cfg):
        del cfg["hydra"]
    config = resolved(cfg)
    check_values(config)
    from vaelab.training.summary import outline  # imports torch and Lightning

    text = outline(config, f"{choices['model']} on {choices['data']}")
    if swept:
        values = " ".join(f"{key}={value}" for key, value in swept.items())
        text += f"\nOne job of a sweep is shown. Swept: {values}"
    return text


def composed(settings: Namespace) -> DictConfig:
    """The config as Hydra composes it for a single run, its own part included."""
    swept = any(o.is_sweep_override() for o in OverridesParser.create().parse_overrides(settings.overrides))
    if settings.multirun or swept:
        raise UserError(f"{EXPLAIN} shows one run: leave out -m, and give every key one value.")
    ours, *own = _roots(settings)
    path = [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in own)}]"] if own else []
    with initialize_config_dir(str(ours), version_base="1.3"):
        return compose(
            settings.config_name or "train", [*settings.overrides, *path], return_hydra_config=True
        )
