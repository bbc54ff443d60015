"""Launchers: the jobs of a sweep in other processes leave the records that they leave in one."""

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from joblib import cpu_count
from omegaconf import OmegaConf

from cli_runner import SMALL, Result, small, trained, without_report
from support import fake_slurm
from support.probe import sessions
from vaelab.cli.paths import conf_dir
from vaelab.errors import UserError
from vaelab.runs.launchers import check_launcher, reserved_cores

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*'hydra/launcher/\w+' is validated against ConfigStore")

PLUGINS = ["joblib", "submitit_local", "submitit_slurm"]
SWEEP = (
    *("-m", "model=beta_vae", "model.latent_dim=4", "trainer.max_epochs=2"),
    *("callbacks.samples=null", "callbacks.kl_pictures=null", "callbacks.latent_map=null"),
    "+callbacks.probe._target_=support.probe.Probe",
)


@pytest.fixture(autouse=True)
def no_hydra_left() -> Iterator[None]:
    yield
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


def command(outputs: Path, *arguments: str, **variables: str) -> Result:
    """`vaelab-train *arguments` with the settings of SMALL, in a process of its own."""
    outputs.mkdir(parents=True, exist_ok=True)
    environ = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS") and k[:6] != "SLURM_"}
    environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    given = {argument.partition("=")[0] for argument in arguments}
    kept = [setting for setting in SMALL if setting.partition("=")[0] not in given]
    script = Path(__file__).parents[2] / "scripts" / "train.py"
    done = subprocess.run(
        [sys.executable, str(script), *arguments, *kept, f"paths.outputs={outputs}"],
        cwd=outputs,
        env={**environ, **variables},
        capture_output=True,
        text=True,
        timeout=240,
    )
    return Result(done.returncode, done.stdout, done.stderr, outputs)


def results(record: dict[str, Any]) -> dict[str, Any]:
    """The part of a record that must not depend on where the run was trained."""
    keys = ("status", "name", "variant", "dataset", "seed", "beta", "swept", "weights", "data", "parameters")
    return {key: record[key] for key in keys}


def assert_same_numbers(one: dict[str, Any], other: dict[str, Any]) -> None:
    """All metrics are equal but for the order in which threads add up."""
    assert one["metrics"].keys() == other["metrics"].keys()
    for name, value in one["metrics"].items():
        expected = other["metrics"][name]
        if isinstance(value, float) and math.isnan(value):
            assert math.isnan(expected), name
        else:
            same = value is None if expected is None else value == pytest.approx(expected, rel=1e-4, abs=1e-6)
            assert same, name


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The sweep one job after the other, in this process."""
    with without_report():
        return trained(tmp_path_factory.mktemp("basic"), *SWEEP, "model.beta=1,4")


def assert_like_basic(result: Result, basic: Result, names: list[str]) -> None:
    """The jobs `names` have basic's records; the last one failed, is recorded as such, and the code is 1."""
    assert result.code == 1, result.err + result.out
    assert list(result.records) == names
    *finished, failed = names
    for name in finished:
        assert results(result.records[name]) == results(basic.records[name])
        assert_same_numbers(result.records[name], basic.records[name])
    assert result.records[failed]["status"] == "failed"
    assert "model.beta" in result.records[failed]["error"]
    assert len(re.findall(r"\d finished runs?, 1 failed", result.out)) == 1
    assert (result.sweep / "report" / "report.html").is_file()
    assert "deprecated" not in result.err
    assert "Traceback" not in result.err


@pytest.mark.slow
def test_joblib_trains_side_by_side_with_a_share_of_the_cores_each(tmp_path, basic):
    result = command(
        tmp_path, *SWEEP, "model.beta=1,4,-1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"
    )
    assert_like_basic(result, basic, ["00-beta1", "01-beta4", "02-beta-1"])
    notes = [sessions(result.sweep / name)[0] for name in basic.records]
    assert {note["threads"] for note in notes} == {max(1, cpu_count() // 2)}
    assert len({note["pid"] for note in notes}) == 2


@pytest.mark.slow
def test_submitit_local_leaves_the_same_records(tmp_path, basic):
    result = command(tmp_path, *SWEEP, "model.beta=1,-1", "hydra/launcher=submitit_local")
    assert_like_basic(result, basic, ["00-beta1", "01-beta-1"])
    [note] = sessions(result.sweep / "00-beta1")
    assert note["threads"] == 1  # cpus_per_task


@pytest.mark.slow
def test_a_preempted_slurm_job_is_queued_again_and_goes_on(tmp_path, basic):
    slurm = tmp_path / "slurm"
    variables = {**fake_slurm.install(slurm), "PROBE_PREEMPTS": "1", "OMP_NUM_THREADS": "1"}
    result = command(
        tmp_path / "outputs", *SWEEP, "model.beta=1,-1", "hydra/launcher=submitit_slurm", **variables
    )
    assert_like_basic(result, basic, ["00-beta1", "01-beta-1"])
    assert (slurm / "scontrol.log").read_text() == f"requeue {fake_slurm.JOB}_0\n"
    before, after = sessions(result.sweep / "00-beta1")
    assert (before["epoch"], after["epoch"]) == (0, 1)
    assert before["pid"] != after["pid"]
    assert before["environment"] == "SLURMEnvironment"

    script = (slurm / "script.sh").read_text()
    expected = {
        "array": "0-1%2",
        "signal": "USR2@120",
        "cpus-per-task": "4",
        "ntasks-per-node": "1",
        "nodes": "1",
        "time": "240",
        "mem": "8GB",
    }
    assert {name: fake_slurm.option(script, name) for name in expected} == expected
    assert "#SBATCH --requeue\n" in script
    assert (slurm / "srun-cpus").read_text() == "4"


# the configs and what they need


def hydra_node(*settings: str) -> Any:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", list(settings), return_hydra_config=True).hydra


@pytest.mark.parametrize("name", PLUGINS)
def test_our_defaults_stand_over_the_plugins_keys(name):
    launcher = hydra_node(f"hydra/launcher={name}").launcher
    own = OmegaConf.load(Path(conf_dir()) / "hydra" / "launcher" / f"{name}.yaml")
    assert {key: launcher[key] for key in own} == own
    assert len(launcher) > len(own)
    assert OmegaConf.get_type(launcher) is not dict  # the plugin's types hold


@pytest.mark.parametrize("name", ["submitit_local", "submitit_slurm"])
def test_a_launcher_without_its_plugin_is_refused_with_the_extra_to_install(name, monkeypatch):
    node = hydra_node(f"hydra/launcher={name}")
    monkeypatch.setitem(sys.modules, "hydra_plugins", None)  # as if there were none
    for module in [m for m in sys.modules if m.startswith("hydra_plugins.")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(UserError) as caught:
        check_launcher(node)
    assert str(caught.value) == f"hydra/launcher={name} needs a plugin: pip install 'vaelab[slurm]'."


def test_slurm_without_its_commands_is_refused(monkeypatch, tmp_path):
    node = hydra_node("hydra/launcher=submitit_slurm")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"there is no sbatch on this machine.*submitit_local"):
        check_launcher(node)
    monkeypatch.setenv("PATH", fake_slurm.install(tmp_path)["PATH"])
    check_launcher(node)


# time


@pytest.mark.slow
def test_a_job_whose_time_was_over_for_the_last_time_is_interrupted_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PROBE_RUNS_OUT_OF_TIME", "1")
    stopped = small(tmp_path, *SWEEP, "model.beta=1")
    assert stopped.code == 1
    assert [record["status"] for record in stopped.records.values()] == ["interrupted"]
    monkeypatch.delenv("PROBE_RUNS_OUT_OF_TIME")
    [record] = trained(tmp_path, *SWEEP, "model.beta=1").records.values()
    note = record["sessions"][1]
    assert (note["status"], note["from"]) == ("finished", "checkpoint")


@pytest.mark.parametrize(
    ("mode", "launcher", "cores"),
    [
        ("MULTIRUN", {}, None),
        ("MULTIRUN", {"n_jobs": 2}, None),  # joblib limits its workers by a variable
        ("MULTIRUN", {"cpus_per_task": None}, None),
        ("MULTIRUN", {"cpus_per_task": 2}, 2),
        ("RUN", {"cpus_per_task": 2}, None),  # launchers are for sweeps
    ],
)
def test_the_cores_that_a_launcher_reserves(mode, launcher, cores):
    node = OmegaConf.create({"mode": RunMode[mode], "launcher": launcher})
    assert reserved_cores(node) == cores
