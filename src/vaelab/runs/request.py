"""The input and output of a run: its request, its starting point, its observer and its result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Observer", "RunRequest", "RunResult", "StartingPoint"]


@dataclass(frozen=True)
class RunRequest:
    """What the caller specifies beside the config: the folder, the name and the place in a sweep."""

    folder: Path
    variant: str  # the option of the config group model
    dataset: str  # the option of the config group data
    name: str
    beta: float | None = (
        None  # the weight of its KL (vaelab.runs.record.kl_weight); None if it has no constant weight
    )
    group: str | None = None  # a name shared by related runs, such as those of a sweep
    swept: Mapping[str, Any] = field(
        default_factory=dict
    )  # the keys that vary in the sweep, with their values in this run
    overrides: Sequence[str] = ()  # the settings of the command line
    alone: bool = True  # False: a job of a multirun, whose failure must not stop the other jobs
    cores: int | None = None  # CPU cores reserved by the launcher; None if it reserves none
    job: str = ""  # its place among the jobs of a sweep, such as "job 3/6"; empty for a single run
    beside: bool = False  # whether other jobs run at the same time and share the terminal
    sweep_left: float | None = None  # seconds of the sweep's other jobs; None if unknown


@dataclass(frozen=True)
class StartingPoint:
    """The state from which an interrupted run resumes; the default is a fresh start."""

    checkpoint: Path | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)  # the last heartbeat: seconds, images ...
    wandb_id: str | None = None  # of the previous session's W&B run
    data_sha256: str | None = None  # the digest of the images with which the run began


class Observer:
    """Receives facts and progress during a run. The base class ignores them; subclasses override methods."""

    def note(self, **facts: Any) -> None:
        """Receive facts by their names in the record: ``data``, ``parameters``, ``latent_shape``, ...."""

    def progress(self, **values: Any) -> None:
        """Receive, every few seconds, the phase (training, testing, pictures ...), epoch, step ..."""


@dataclass(frozen=True)
class RunResult:
    """The result of training and measuring a model. Each field has the same name in the record."""

    data: dict[str, Any]  # image_shape, value_range, the number of train, val and test images, sha256
    parameters: int
    weights: str  # the measured checkpoint, relative to the run's folder
    weights_choice: str  # best, of the least val/objective, or last
    timing: dict[str, float | None]  # fit_seconds, train_seconds, images_per_second
    metrics: dict[str, Any]  # <split>/<name>: a number, or a list of one number per latent dimension
    curve: list[dict[str, Any]] | None  # of a multi-rate model: a point for each beta (vaelab.runs.curve)
    stopped: dict[str, Any] | None  # what ended the training early, in which epoch and step, and the reason
    per_image: str | None  # the file with rate and distortion of each test image; None without a rate
    verdict: dict[str, Any] | None  # label, reason and evidence (vaelab.runs.health)
    wandb: dict[str, Any] | None  # id, project, entity, mode, folder, url, problem of the W&B run
