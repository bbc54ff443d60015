"""A sweep whose runs have logged to W&B, offline, and whose end has been logged as a run of its own."""

import warnings
from pathlib import Path

import pytest
from dashboard_runs import Logged

from cli_runner import small
from support.wandb_files import read_runs
from support.wandb_home import wandb_home
from vaelab.reports.dashboard.sweep_run import log_sweep
from vaelab.runs.find import sweep_records

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it declares its models in pydantic's old way
    import wandb_workspaces.workspaces  # noqa: F401


@pytest.fixture(scope="session")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("logged_sweep")
    with wandb_home(folder / "home"):
        result = small(
            folder / "outputs",
            *("-m", "model=beta_vae", "model.beta=0.5,4", "optimizer.lr=1e-3,1e9", "model.latent_dim=3"),
            *("logger=wandb", "logger.project=here", "logger.tags=[mine]", "trainer.max_epochs=1"),
        )
        where = log_sweep(result.sweep, sweep_records(result.sweep))
    return Logged(result, where, read_runs(Path(folder / "outputs" / "wandb")))
