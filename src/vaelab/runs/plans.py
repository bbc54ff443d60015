"""plan.json, which a plan leaves in a folder and a sweep of its betas in its own (docs/plan.md)."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vaelab.runs.files import replacing

__all__ = ["PLAN", "Reference", "read_reference", "write_plan"]

PLAN = "plan.json"


class Reference(NamedTuple):
    """The curve of the best linear model, from small betas to the end where the rate is 0."""

    rates: list[float]
    distortions: list[float]


def write_plan(folder: Path, plan: Mapping[str, Any]) -> Path:
    """Write a plan (:meth:`vaelab.training.plan.Plan.plain`) and return the file."""
    with replacing(folder / PLAN) as temporary:
        temporary.write_text(json.dumps(plan, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return folder / PLAN


def read_reference(folder: Path) -> Reference | None:
    """The reference curve of the plan in a folder; None if there is none that can be read."""
    try:
        curve = json.loads((folder / PLAN).read_text(encoding="utf-8"))["curve"]
        reference = Reference(*([float(value) for value in curve[name]] for name in ("rate", "distortion")))
    except (OSError, ValueError, TypeError, KeyError):  # none, or another program's
        return None
    whole = len(reference.rates) == len(reference.distortions) > 0
    return (
        reference if whole and all(map(math.isfinite, (*reference.rates, *reference.distortions))) else None
    )
