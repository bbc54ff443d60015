"""The command line called in this process: importing torch anew for every test would take minutes.

Hydra, Lightning and vaelab leave things behind in a process that is about to end anyway: logging handlers,
random states, signal handlers, variables. `run` puts them back, so that a test starts where the last began.
"""

import io
import json
import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton

from vaelab.cli import sweep as sweeps
from vaelab.cli import train as cli

torch.set_num_threads(
    1
)  # these models gain nothing from more, and on a busy machine the threads wait in turn

SMALL = (
    "data=digits",
    "data.train_size=64",
    "data.val_size=32",
    "network.hidden=[16]",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "logger=none",
)
"""One epoch of one batch: what a run is made of, in half a second. Later settings replace these."""


@dataclass
class Result:
    """How the command ended, what it printed, and what lies below `paths.outputs`."""

    code: int
    out: str
    err: str
    outputs: Path

    @property
    def folder(self) -> Path:
        """The folder of the only single run."""
        [folder] = (self.outputs / "runs").iterdir()
        return folder

    @property
    def sweep(self) -> Path:
        """The folder of the only sweep."""
        [folder] = (self.outputs / "sweeps").iterdir()
        return folder

    @property
    def record(self) -> dict[str, Any]:
        return read_record(self.folder)

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        """The records of the only sweep's jobs, by the names of their folders, in order."""
        return {
            file.parent.name: read_record(file.parent) for file in sorted(self.sweep.glob("*/results.json"))
        }


def read_record(folder: Path) -> dict[str, Any]:
    """`results.json` as any reader would see it."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


class Terminal(io.StringIO):
    """Takes text, and says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(
    outputs: Path,
    *arguments: str,
    cwd: Path | None = None,
    terminal: bool = False,
    last: str | None = None,
) -> Result:
    """`vaelab-train *arguments paths.outputs=<outputs>`, called from `cwd` (`outputs` itself if None).

    `last` replaces the last argument.
    """
    outputs.mkdir(parents=True, exist_ok=True)
    out, err = Terminal() if terminal else io.StringIO(), io.StringIO()
    command = ["vaelab-train", *arguments, last or f"paths.outputs={outputs}"]
    with chdir(cwd or outputs), process_put_back(), redirect_stdout(out), redirect_stderr(err):
        sys.argv[:] = command
        try:
            cli.train()
            code: Any = 0
        except SystemExit as stop:
            code = stop.code
    return Result(
        code if isinstance(code, int) else int(code is not None), out.getvalue(), err.getvalue(), outputs
    )


def small(outputs: Path, *arguments: str, **options: Any) -> Result:
    """`run` with the settings of `SMALL`."""
    overridden = {argument.partition("=")[0] for argument in arguments}
    kept = [setting for setting in SMALL if setting.partition("=")[0] not in overridden]
    return run(outputs, *arguments, *kept, **options)


def trained(outputs: Path, *arguments: str, **options: Any) -> Result:
    """`small`, of a command that has to succeed."""
    result = small(outputs, *arguments, **options)
    assert result.code == 0, result.err + result.out
    return result


@contextmanager
def without_report() -> Iterator[None]:
    """No report at a sweep's end, but the plain table: it takes longer than these sweeps."""
    comparison = sweeps.comparison
    sweeps.comparison = lambda folder, records: sweeps.sweep_table(records)
    try:
        yield
    finally:
        sweeps.comparison = comparison


@contextmanager
def process_put_back() -> Iterator[None]:
    """Leave the process as it was found, whatever the command did to it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    interrupt, terminate = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    argv, path, environ, singletons = sys.argv[:], sys.path[:], dict(os.environ), Singleton.get_state()
    numbers = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    deterministic, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()  # Hydra's run.log
        root.handlers[:], root.level = handlers, level
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, terminate)
        sys.argv[:], sys.path[:] = argv, path
        for name in set(os.environ) - set(environ) - {"WANDB_SERVICE"}:  # W&B's own, ended by its teardown
            del os.environ[name]
        os.environ.update(environ)
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None
        Singleton.set_state(singletons)
        random.setstate(numbers[0])
        np.random.set_state(numbers[1])  # noqa: NPY002
        torch.set_rng_state(numbers[2])
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.benchmark = benchmark
