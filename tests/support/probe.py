"""A callback that notes where a run trains and, if asked to, preempts it once; `callbacks.probe._target_`."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from submitit.core.utils import UncompletedJobError

FILE_NAME = "probe.jsonl"


class Probe(pl.Callback):
    """Writes a line to `probe.jsonl` in the run's folder each time that training starts.

    If `PROBE_PREEMPTS` is set, the process gets the signal that submitit takes for a preemption when its
    first session comes to the second epoch. A variable, not an argument: the run that goes on has its config.
    """

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        notes = {
            "pid": os.getpid(),
            "threads": torch.get_num_threads(),
            "environment": type(trainer._accelerator_connector.cluster_environment).__name__,
            "epoch": trainer.current_epoch,
        }
        with (Path(trainer.default_root_dir) / FILE_NAME).open("a") as file:
            file.write(json.dumps(notes) + "\n")

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        first = len(sessions(Path(trainer.default_root_dir))) == 1
        if "PROBE_PREEMPTS" in os.environ and first and trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGUSR2)
        if "PROBE_RUNS_OUT_OF_TIME" in os.environ and trainer.current_epoch == 1:
            raise UncompletedJobError("Job not requeued because: timed-out too many times.")


def sessions(folder: Path) -> list[dict[str, Any]]:
    """What the probe noted in a run's folder, a dictionary a session."""
    return [json.loads(line) for line in (folder / FILE_NAME).read_text().splitlines()]
