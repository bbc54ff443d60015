"""What a run is asked to be, what it starts from, whom it tells how far it is, and what it gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Observer", "RunRequest", "RunResult", "StartingPoint"]


@dataclass(frozen=True)
class RunRequest:
    """What is known of a run beside its config: where it is written and what it is called."""

    folder: Path
    variant: str  # the option of the config group model
    dataset: str  # the option of the config group data
    name: str
    beta: float | None = None  # the weight of its KL (vaelab.runs.record.kl_weight), None if it is no number
    group: str | None = None  # of runs that belong together, such as a sweep
    swept: Mapping[str, Any] = field(default_factory=dict)  # the keys that vary in its sweep, with its values
    overrides: Sequence[str] = ()  # the settings of the command line
    alone: bool = True  # False: a job of a multirun, whose failure must not stop the other jobs
    cores: int | None = None  # CPU cores that a launcher reserves for it; None if it reserves none


@dataclass(frozen=True)
class StartingPoint:
    """What a run goes on from. The default: nothing, a fresh start."""

    checkpoint: Path | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)  # the last heartbeat: seconds, images ...
    wandb_id: str | None = None  # of the W&B run of the session before


class Observer:
    """Is told of a run while it lasts. This one ignores it all; a subclass overrides what it needs."""

    def note(self, **facts: Any) -> None:
        """Facts under the names that they have in the record: ``data``, ``parameters``, ``wandb``."""

    def progress(self, **values: Any) -> None:
        """Every few seconds: epoch, max_epochs, step, fit_seconds, train_seconds, images."""


@dataclass(frozen=True)
class RunResult:
    """What training and measuring one model gave. Every field has the same name in the record."""

    data: dict[str, Any]  # image_shape, value_range, and the number of train, val and test images
    parameters: int
    weights: str  # the checkpoint that was measured, relative to the run's folder
    timing: dict[str, float | None]  # fit_seconds, train_seconds, images_per_second
    metrics: dict[str, Any]  # <split>/<name>: a number, or a list of one number per latent dimension
    verdict: dict[str, Any] | None  # label, reason and evidence (vaelab.runs.health)
    wandb: dict[str, Any] | None  # id, project, entity, mode, folder, url, problem of the W&B run
