"""The config of a stored file, which may come from a stranger: nothing in it is called unless it is known.

A ``_target_`` names what is called to build a part, so a config is code. The settings of a command line are
the user's own. A checkpoint or a record is a file, and its config is used only if every ``_target_`` in it,
at any depth, is a public name of vaelab, a class of one of :data:`LIBRARIES`, or in a package that the user
trusts.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaelab.errors import UserError, first_line
from vaelab.training.assembly import find_target

__all__ = ["LIBRARIES", "inside", "stored_config"]

LIBRARIES = ("torch.nn.", "torch.optim.", "pytorch_lightning.", "torchmetrics.")
ROOMS = ("data", "evaluation", "metrics", "models", "training")  # whose public names a config may give


def stored_config(config: Mapping[str, Any], file: Path, trust: Sequence[str] = ()) -> DictConfig:
    """The resolved config of ``file``, a checkpoint or a record, after every ``_target_`` was checked.

    The names are compared after they are found: ``vaelab.data.os.mkdir`` is the operating system's, not ours.
    A module is imported only if its name begins like a trusted one.

    Args:
        trust: packages of the user's own, such as ``mypackage``.

    Raises:
        UserError: the config names something else, or can't be resolved.
    """
    trusted = [f"{prefix.rstrip('.')}." for prefix in trust if prefix.strip(".")]
    try:
        plain = OmegaConf.to_container(OmegaConf.create(dict(config)), resolve=True)
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        raise UserError(f"The config in {file} can't be read: {first_line(error)}") from error
    for key, target in _targets(plain):
        if not (isinstance(target, str) and _is_known(key, target, trusted)):
            package = str(target).partition(".")[0]
            raise UserError(
                f"{file} wants to call {str(target)!r} ({key}), which is no part of vaelab. If you trust it, "
                f"say so: vaelab.load(..., trust=['{package}.']) or vaelab-evaluate --trust {package}."
            )
    cfg = OmegaConf.create(plain)
    assert isinstance(cfg, DictConfig)
    return cfg


def _targets(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every ``_target_`` at any depth, with the key of its node."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield key or "config", node["_target_"]
        for name, value in node.items():
            yield from _targets(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _targets(value, f"{key}[{place}]")


def _is_known(key: str, target: str, trusted: Sequence[str]) -> bool:
    if target.startswith("vaelab."):
        _, room, *names = target.split(".")
        if len(names) == 1 and room in ROOMS and names[0] in import_module(f"vaelab.{room}").__all__:
            return True
        return not _exists(target)  # a name of an older version: assembly says that it is gone
    own = [prefix for prefix in trusted if target.startswith(prefix)]
    if not own and not target.startswith(LIBRARIES):
        return False
    found = find_target(key, target)
    home = f"{getattr(found, '__module__', None)}."
    return home.startswith(tuple(own)) if own else isinstance(found, type) and home.startswith(LIBRARIES)


def _exists(target: str) -> bool:
    try:
        find_target("", target)
    except UserError:
        return False
    return True


def inside(folder: Path, name: str, file: Path) -> Path:
    """The path ``name`` in ``folder``, which the record ``file`` names.

    Raises:
        UserError: it leads out of the folder, by ``..``, as an absolute path or through a link.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{file} names {name!r}, which is outside of the run's folder.")
    return path
