"""conf/wandb/sweep_beta.yaml: W&B's own code makes commands of it, which vaelab-train runs as W&B's jobs."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from cli_runner import trained
from support.wandb_home import wandb_home
from support.wandb_stub import ENTITY, WandbStub
from vaelab.cli.checks import check_values
from vaelab.cli.paths import conf_dir
from vaelab.reports.dashboard.panels import ELBO

FILE = Path(__file__).resolve().parents[3] / "conf" / "wandb" / "sweep_beta.yaml"
SWEEP = "1e5"  # an id that looks like a number


@pytest.fixture
def sweep() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return loaded


def command(sweep: dict[str, Any], **values: Any) -> list[str]:
    """The command that the agent would start, made as `Agent._command_run` makes it."""
    parts = create_sweep_command(list(sweep["command"]))
    macros = create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    macros |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [sweep["program"]]}
    filled = [macros[part[2:-1]] if part.startswith("${") else [part] for part in parts]
    return list(itertools.chain(*filled))


def grid(sweep: dict[str, Any]) -> list[dict[str, Any]]:
    values = [entry["values"] for entry in sweep["parameters"].values()]
    return [dict(zip(sweep["parameters"], choice, strict=True)) for choice in itertools.product(*values)]


def test_it_seeks_the_highest_elbo_on_a_grid(sweep):
    assert sweep["method"] == "grid"
    assert sweep["metric"] == {"name": ELBO.name, "goal": "maximize"}
    assert set(sweep["parameters"]) == {"model.beta", "seed"}


def test_every_job_is_a_config_that_vaelab_takes(sweep, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", SWEEP)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for values in grid(sweep):
            env, program, *settings = command(sweep, **values)
            assert (env, program) == ("/usr/bin/env", sweep["program"])
            cfg = compose("train", settings)
            config = OmegaConf.to_container(cfg, resolve=True)
            check_values(config)
            assert (config["model"]["beta"], config["seed"]) == tuple(values.values())
            assert config["group"] == SWEEP
            assert config["logger"]["mode"] == "online"


# W&B leaves the file of the agent's choice open
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_a_job_joins_the_run_that_the_agent_names(sweep, tmp_path, monkeypatch):
    values = {"model.beta": 2, "seed": 1}
    chosen = tmp_path / "config.yaml"  # the agent writes its choice there
    chosen.write_text(yaml.safe_dump({"wandb_version": 1} | {k: {"value": v} for k, v in values.items()}))
    agent = {
        "WANDB_SWEEP_ID": SWEEP,
        "WANDB_RUN_ID": "run4agent",
        "WANDB_SWEEP_PARAM_PATH": str(chosen),
        "WANDB_ENTITY": ENTITY,
        "WANDB_PROJECT": "theirs",
    }
    with WandbStub() as stub, wandb_home(tmp_path / "home", **stub.environ, **agent):
        _, _, *settings = command(sweep, **values)
        result = trained(tmp_path / "outputs", *settings, "callbacks=none")
    [run] = stub.runs.values()
    assert (run.id, run.sweep, run.project, run.group) == ("run4agent", SWEEP, "theirs", SWEEP)
    assert (run.config["beta"], run.config["model"]["beta"], run.config["model.beta"]) == (2, 2, 2)
    assert run.config["seed"] == 1
    assert run.summary[ELBO.name] == pytest.approx(result.record["metrics"][ELBO.name])
    assert (run.job_type, run.exit_code) == ("train", 0)
    assert result.record["name"].startswith("beta_vae-digits-")
    assert {"beta2", "seed1"} < set(result.record["name"].split("-"))
    wandb = result.record["wandb"]
    assert (wandb["id"], wandb["project"]) == ("run4agent", "theirs")
    assert wandb["url"].endswith("/runs/run4agent")
