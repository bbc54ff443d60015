"""A sweep whose runs have logged to W&B, offline, and whose end has been logged as a run of its own."""

from dataclasses import dataclass

import pytest

from cli_runner import Result, small
from support.wandb_files import WandbRun, read_runs
from support.wandb_home import wandb_home
from vaelab.reports.dashboard.sweep_run import log_sweep
from vaelab.runs.find import sweep_records


@dataclass
class Logged:
    """A sweep of four jobs, two of which fail, and what its offline files say."""

    result: Result
    where: str | None  # what log_sweep returned
    training: list[WandbRun]
    summary: WandbRun


@pytest.fixture(scope="session")
def logged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logged_sweep")
    with wandb_home(folder / "home"):
        result = small(
            folder / "outputs",
            *("-m", "model=beta_vae", "model.beta=0.5,4", "optimizer.lr=1e-3,1e9", "model.latent_dim=3"),
            *("logger=wandb", "logger.project=here", "logger.tags=[mine]", "trainer.max_epochs=1"),
        )
        where = log_sweep(result.sweep, sweep_records(result.sweep))
    runs = read_runs(folder / "outputs" / "wandb")
    by_type = {kind: [run for run in runs if run.job_type == kind] for kind in ("train", "sweep")}
    return Logged(result, where, by_type["train"], by_type["sweep"][-1])
