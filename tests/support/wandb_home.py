"""Keep W&B away from the machine that the tests run on: its home directory, its account, its network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import wandb

from vaelab.runs.wandb_run import server_problem

LEAN = wandb.Settings(
    console="off",
    disable_git=True,
    save_code=False,
    silent=True,
    x_disable_meta=True,
    x_disable_stats=True,
    x_save_requirements=False,
)
"""Nothing but what a test logs, and no process that watches the machine: an `init` in milliseconds."""


@contextmanager
def wandb_home(folder: Path, **environ: str) -> Iterator[Path]:
    """Forget the user's W&B settings, keep all files below `folder`, and yield the folder of the runs.

    The mode is offline unless `environ` (such as `WandbStub.environ`) says otherwise.
    Read an offline run after the block, or after a `wandb.teardown()` in it: `finish()` returns a few
    milliseconds before the file is whole, while `teardown()` waits for the process that writes it.
    """
    wandb.teardown()  # the SDK looks at its variables once, when it is first used
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        folders = {f"WANDB_{name}_DIR": str(folder / name.lower()) for name in ("DATA", "CACHE", "CONFIG")}
        patch.setenv("HOME", str(folder / "home"))  # an API key may lie there in .netrc
        patch.setenv("WANDB_DIR", str(folder))
        for name, value in {"WANDB_MODE": "offline", **folders, **environ}.items():
            patch.setenv(name, value)
        try:
            yield folder / "wandb"
        finally:
            wandb.teardown()
            server_problem.cache_clear()
