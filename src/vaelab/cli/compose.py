"""Compose configs by Hydra outside of a Hydra application."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from vaelab.cli.options import check_options
from vaelab.cli.paths import conf_dir
from vaelab.errors import UserError
from vaelab.runs.naming import register_resolvers

__all__ = ["composed", "config_folder"]


def composed(
    root: str, settings: Sequence[str], config_dir: str | None = None, with_hydra: bool = False
) -> DictConfig:
    """The config ``root`` of conf/ with these settings, including the node ``hydra`` if ``with_hydra``.

    Hydra's global state is restored afterwards, even inside another Hydra application.

    Args:
        config_dir: a folder with further options.

    Raises:
        UserError: there is no such folder, or a group's value is no name.
        HydraException: a setting can't be parsed, or its key or option does not exist.
    """
    register_resolvers()
    check_options(settings)
    path = [] if config_dir is None else [f"hydra.searchpath=[file://{config_folder(config_dir)}]"]
    with global_hydra_restored(), initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(root, [*settings, *path], return_hydra_config=with_hydra)


def config_folder(name: str) -> Path:
    """The absolute path of a folder with further options.

    Raises:
        UserError: there is no such folder.
    """
    if not Path(name).is_dir():
        raise UserError(f"--config-dir {name}: there is no such folder.")
    return Path(name).absolute()


@contextmanager
def global_hydra_restored() -> Iterator[None]:
    """Clear Hydra's global state inside the block and restore it afterwards."""
    state = GlobalHydra.instance()
    before = state.hydra
    state.clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = before
