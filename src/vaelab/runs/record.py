"""The record of a run, ``results.json``: complete without W&B, and written atomically."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaelab.runs.files import replacing

__all__ = [
    "FILE_NAME",
    "HISTORY_FILES",
    "PER_IMAGE",
    "SCHEMA",
    "check_finished",
    "finite",
    "flatten",
    "is_rate",
    "kl_weight",
    "plain",
    "read_record",
    "write_record",
]

SCHEMA = 1
FILE_NAME = "results.json"
MOST_NAMED = 100
"""Numbers of one metric, such as the KL of each dimension, that have a name each in loggers and history."""
PART_NAMES = {"_per_dim": "dim_{:02d}", "_per_channel": "channel_{:02d}", "_per_group": "group_{}"}
PER_IMAGE = "per_image.npz"
"""A file in the run's folder with the rate and the distortion of each test image."""
HISTORY_FILES = ("history.csv", "metrics.csv")
"""Files in the run's folder with a row per epoch: of callbacks.history and of Lightning's CSVLogger."""


def plain(value: Any) -> Any:
    """``value`` in the types of JSON; an undefined or infinite number becomes null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # tensors and arrays
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"model": {"beta": 4}}`` -> ``{"model.beta": 4}``; lists stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def finite(value: Any) -> float | None:
    """``value`` as a float if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def named_scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """A name for each finite number; None, NaN and infinite values are left out.

    So are lists of more than MOST_NAMED numbers, which the record has whole: a latent map may have thousands
    of dimensions, and its channels tell the same.

    >>> named_scalars({"test/rate": 2.0, "test/elbo": None, "test/kl_per_dim": [0.5, 1.5]})
    {'test/rate': 2.0, 'test/kl/dim_00': 0.5, 'test/kl/dim_01': 1.5}
    >>> named_scalars({"test/kl_per_group": [2.5, 0.5]})
    {'test/kl/group_0': 2.5, 'test/kl/group_1': 0.5}
    >>> named_scalars({"test/kl_per_dim": [0.01] * 784, "test/kl_per_channel": [1.96, 5.88]})
    {'test/kl/channel_00': 1.96, 'test/kl/channel_01': 5.88}
    """
    scalars: dict[str, Any] = {}
    for name, value in metrics.items():
        if not isinstance(value, list):
            scalars[name] = value
        elif len(value) <= MOST_NAMED:
            suffix = next(filter(name.endswith, PART_NAMES), "_per_dim")
            stem, part_name = name.removesuffix(suffix), PART_NAMES[suffix]
            scalars |= {f"{stem}/{part_name.format(d)}": part for d, part in enumerate(value)}
    return {name: value for name, value in scalars.items() if finite(value) is not None}


def kl_weight(cfg: DictConfig) -> float | None:
    """The beta of a run: the weight of its KL, in nats of loss per nat of rate.

    None unless ``model.beta`` is a number and sets exactly one thing: the constant weight of the objective's
    :class:`vaelab.models.KL`. It is None for the weight of the total correlation (beta-TC-VAE), the end of a
    schedule (annealed VAE), a number that also enters another weight (InfoVAE), or where each group of a
    hierarchy has its own weight or floor.

    Args:
        cfg: the composed config with unresolved interpolations.
    """
    try:
        beta: Any = OmegaConf.select(cfg, "model.beta")
        if finite(beta) is None or not OmegaConf.is_dict(OmegaConf.select(cfg, "model.objective")):
            return None
        # compare the objectives of two betas to see which settings model.beta changes
        one, other = _objective(cfg), _objective(OmegaConf.merge(cfg, {"model": {"beta": beta + 1}}))
    except OmegaConfBaseException:  # the checks that follow report the mistake
        return None
    changed = {key: (value, other.get(key)) for key, value in one.items() if value != other.get(key)}
    names = [key.removesuffix("._target_") for key in one if key.endswith("._target_")]
    kl = [name for name in names if is_rate(one, name)]
    return beta if len(kl) == 1 and changed == {f"{kl[0]}.weight": (beta, beta + 1)} else None


def is_rate(objective: Mapping[str, Any], term: str) -> bool:
    """Whether a term is the rate itself: a KL, which of a hierarchy has no weight or floor of single groups.

    Args:
        objective: its settings, resolved and flat: ``{"kl._target_": "vaelab.models.KL", ...}``.
    """
    target = str(objective.get(f"{term}._target_"))
    of_groups = tuple(f"{term}.{name}" for name in ("group_beta", "free_bits"))
    given = any(key.startswith(of_groups) and value is not None for key, value in objective.items())
    return target == "vaelab.models.KL" or (target == "vaelab.models.GroupKL" and not given)


def _objective(cfg: Any) -> dict[str, Any]:
    """The objective's settings, resolved and flat."""
    objective: Any = OmegaConf.to_container(cfg.model.objective, resolve=True)
    return flatten(objective)


def write_record(folder: Path, record: dict[str, Any]) -> Path:
    """Write the record into ``folder`` atomically and return its path."""
    path = Path(folder) / FILE_NAME
    with replacing(path) as temporary:
        text = json.dumps(plain(record), indent=1, allow_nan=False)
        temporary.write_text(f"{text}\n", encoding="utf-8")
    return path


def read_record(folder: Path) -> dict[str, Any]:
    """The record in ``folder``. Raises FileNotFoundError, or ValueError if it is not a record."""
    record = json.loads((Path(folder) / FILE_NAME).read_text(encoding="utf-8"))
    if not isinstance(record, dict) or "schema" not in record:
        raise ValueError(f"{Path(folder) / FILE_NAME} is not a record of a vaelab run")
    return record


def check_finished(record: Mapping[str, Any]) -> None:
    """Raise ValueError if the record of a finished run lacks what loading and evaluating it need."""
    for key, kind in {"config": dict, "metrics": dict, "weights": str, "name": str}.items():
        if not isinstance(record.get(key), kind):
            found = "is missing" if key not in record else f"is {type(record[key]).__name__}"
            raise ValueError(f"its key {key!r} {found.replace('NoneType', 'null')}, not {NAMES[kind]}")


NAMES = {dict: "a dictionary", str: "a text"}
