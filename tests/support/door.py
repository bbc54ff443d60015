"""What the door of a run does with a value: it is refused, accepted, or something else comes through."""

import copy
import functools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from vaelab.cli.compose import composed
from vaelab.cli.paths import conf_dir
from vaelab.cli.run import hydra_request, train_run
from vaelab.errors import UserError

BAD: dict[str, Any] = {
    "word": "nonsense",
    "negative": -1,
    "fraction": 0.37,
    "zero": 0,
    "huge": 10**15,
    "beyond": 10**30,
    "nan": math.nan,
    "inf": math.inf,
    "empty": "",
    "null": None,
    "list": ["a", 2],
    "no items": [],
    "dict": {"nonsense": 1},
    "true": True,
}
"""Values of every kind; most are wrong for most keys."""

TINY = (
    "data.train_size=16",
    "data.val_size=8",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "logger=none",
    "threads=1",
)
SHIPPED_DATA = ("digits", "sprites")
GROUPS = ("model", "network", "prior", "likelihood", "optimizer", "trainer", "metrics", "callbacks", "data")


class Begun(Exception):
    """The first batch of the training is due: the values have passed the door."""


class AtTheDoor(pl.Callback):
    def on_train_batch_start(self, *_: Any) -> None:
        raise Begun


def options(group: str) -> list[str]:
    """The options of a config group that need no files of the user's own."""
    names = sorted(file.stem for file in (conf_dir() / group).glob("*.yaml") if file.stem[0] != "_")
    return [name for name in names if group != "data" or name in SHIPPED_DATA]


@cache
def config(*settings: str) -> DictConfig:
    """The composed config of a tiny run, with the node hydra. To copy, not to change."""
    own = {setting.partition("=")[0] for setting in settings}
    tiny = [setting for setting in TINY if setting.partition("=")[0] not in own]
    return composed("train", [*settings, *tiny], with_hydra=True)


def keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Every key of a plain config, nodes included, without ``_target_``."""
    for name, value in node.items() if isinstance(node, Mapping) else ():
        if name in ("_target_", "_partial_"):
            continue
        yield f"{prefix}{name}"
        yield from keys(value, f"{prefix}{name}.")


def with_option(group: str, option: str) -> DictConfig:
    """The config with this option of a group; the default one for "default"."""
    return config(*([] if option == "default" else [f"{group}={option}"]))


def nodes(group: str, option: str) -> dict[str, str]:
    """The keys of a config group with this option, each with the part that takes it."""
    cfg = OmegaConf.to_container(with_option(group, option), resolve=False)
    found = {}
    for key in keys(cfg[group], f"{group}.") if group in cfg else ():
        parent = functools.reduce(lambda node, name: node[name], key.split(".")[:-1], cfg)
        found[key] = f"{key} of {parent.get('_target_')}"
    return found


def sample(group: str, chosen: Sequence[str], times: int = 1) -> list[tuple[str, str, str]]:
    """Options, keys and kinds of values of a group, at random, the same in every run.

    Every key of every part is among them ``times`` times, and every kind of value.
    """
    parts = {}  # what another option has too is taken once
    for option in chosen:
        for key, part in nodes(group, option).items():
            parts.setdefault(part, (option, key))
    generator = random.Random(group)
    places = generator.sample(sorted(parts.values()), len(parts))
    count = max(times * len(places), len(BAD)) if places else 0
    kinds = [kind for _ in range(0, count, len(BAD)) for kind in generator.sample(sorted(BAD), len(BAD))]
    return [(*places[n % len(places)], kinds[n]) for n in range(count)]


def outcome(cfg: DictConfig, key: str, value: Any, folder: Path) -> str:
    """``accepted``, or the text of the refusal.

    Raises:
        Exception: anything else than a UserError came through.
    """
    cfg = copy.deepcopy(cfg)
    HydraConfig.instance().cfg = None
    with open_dict(cfg):
        cfg.hydra.run.dir = cfg.hydra.runtime.output_dir = str(folder)
        OmegaConf.update(cfg, key, value, merge=False, force_add=True)
        hydra = cfg.pop("hydra")
        if isinstance(cfg.get("callbacks"), DictConfig):
            cfg.callbacks["door"] = {"_target_": "support.door.AtTheDoor"}
    try:
        train_run(cfg, hydra_request(cfg, hydra))
    except Begun:
        return "accepted"
    except UserError as error:
        return str(error)
    return "accepted"
