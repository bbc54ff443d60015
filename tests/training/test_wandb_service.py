"""The end of W&B's own process."""

import os
import signal
import time
from pathlib import Path

import wandb

from support.wandb_home import wandb_home
from vaelab.training.wandb_service import _process, end_service


def start(folder: Path) -> None:
    settings = wandb.Settings(silent=True)
    wandb.init(project="p", dir=folder, reinit="create_new", settings=settings).finish()


def test_a_process_that_does_not_answer_is_killed(tmp_path):
    with wandb_home(tmp_path):
        start(tmp_path)
        process = _process()
        os.kill(process.pid, signal.SIGSTOP)
        began = time.monotonic()
        end_service(0.5)
        assert 0.5 <= time.monotonic() - began < 10
        assert process.wait() == -signal.SIGKILL
        start(tmp_path)  # with another process


def test_a_process_that_ends_is_not_waited_for(tmp_path):
    with wandb_home(tmp_path):
        start(tmp_path)
        process = _process()
        end_service(30)
        assert process.wait() == 0
        assert _process() is None


def test_nothing_to_end(tmp_path):
    with wandb_home(tmp_path):
        end_service()
        assert _process() is None
