"""conf/wandb/sweep_beta.yaml: W&B's own code makes commands of it, which vaelab-train runs as W&B's jobs."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from cli_runner import trained
from support.wandb_home import wandb_home
from support.wandb_stub import ENTITY, WandbStub

FILE = Path(__file__).resolve().parents[3] / "conf" / "wandb" / "sweep_beta.yaml"
SWEEP = "1e5"  # an id that looks like a number


def command(sweep: dict[str, Any], **values: Any) -> list[str]:
    """The command that the agent would start, made as `Agent._command_run` makes it."""
    parts = create_sweep_command(list(sweep["command"]))
    macros = create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    macros |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [sweep["program"]]}
    filled = [macros[part[2:-1]] if part.startswith("${") else [part] for part in parts]
    return list(itertools.chain(*filled))


# W&B leaves the file of the agent's choice open
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_a_job_joins_the_run_that_the_agent_names(tmp_path):
    sweep = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    values = {key: entry["values"][-1] for key, entry in sweep["parameters"].items()}
    assert sweep["metric"]["name"] == "val/elbo"
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
    betas = run.config["beta"], run.config["model"]["beta"], run.config["model.beta"]
    assert set(betas) == {values["model.beta"]}
    assert run.config["seed"] == values["seed"]
    assert run.summary["val/elbo"] == pytest.approx(result.record["metrics"]["val/elbo"])
    assert (run.job_type, run.exit_code) == ("train", 0)
    assert result.record["name"].startswith("beta_vae-digits-")
    wandb = result.record["wandb"]
    assert (wandb["id"], wandb["project"]) == ("run4agent", "theirs")
    assert wandb["url"].endswith("/runs/run4agent")
