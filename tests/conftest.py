"""What several test files share: no settings of the user's own, and the runs that many tests look at."""

import gc
import hashlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cli_runner import Result, small, trained, without_report
from support.wandb_home import wandb_home
from vaelab.data import kept


def pytest_configure(config: pytest.Config) -> None:
    """pytest-randomly shuffles the order alone: generators are seeded below, by each test's own name."""
    if hasattr(config.option, "randomly_reset_seed"):  # not with -p no:randomly
        config.option.randomly_reset_seed = False


def pytest_collection_finish() -> None:
    """What is imported and collected by now stays: no garbage collection looks through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_random_numbers(request: pytest.FixtureRequest) -> None:
    """Every test starts with generators seeded by its own name, whatever ran before it and in which order."""
    name = request.node.nodeid.rpartition("tests/")[2]
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  what libraries use
    torch.manual_seed(seed)


@pytest.fixture(autouse=True)
def own_data() -> None:
    """Every test reads its images itself."""
    kept.forget()


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Ctrl-C interrupts, also where a shell has begun the tests in the background and ignores it for them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def no_user_settings() -> Iterator[None]:
    """The variables of whoever runs the tests change nothing."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("WANDB_", "VAELAB_", "HYDRA_")):
                patch.delenv(name)
        yield


@pytest.fixture
def wandb_offline(tmp_path: Path) -> Iterator[Path]:
    """A W&B of this test's own, offline; what `logger=wandb` needs."""
    with wandb_home(tmp_path / "wandb_home") as runs:
        yield runs


@pytest.fixture
def plain_table() -> Iterator[None]:
    """Sweeps end with a plain table: for tests that look at the jobs, not at the report."""
    with without_report():
        yield


@pytest.fixture(scope="session")
def vae_run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A VAE on digits, two epochs, with pictures and checkpoints. To look at, not to change."""
    outputs = tmp_path_factory.mktemp("vae_run")
    return trained(outputs, "model=vae", "model.latent_dim=4", "trainer.max_epochs=2", "seed=3")


@pytest.fixture(scope="session")
def beta_sweep(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A multirun over three values of beta with all that can be on, W&B offline included."""
    folder = tmp_path_factory.mktemp("beta_sweep")
    with wandb_home(folder / "home"):  # the offline files are whole once this block is left
        return small(
            folder / "outputs",
            *("-m", "model=beta_vae", "model.beta=0.5,1,2", "seed=0", "model.latent_dim=4"),
            *("logger=wandb", "logger.tags=[extra]", "trainer.max_epochs=2", "callbacks=all_pictures"),
        )
