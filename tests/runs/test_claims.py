"""Commands that begin at the same time: who may work in a sweep's folder."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import vaelab
from cli_runner import SMALL, read_record, small, without_report
from vaelab.cli.sweep import fresh_folder
from vaelab.errors import UserError
from vaelab.runs.naming import enumerated, planned_jobs, register_resolvers
from vaelab.runs.resume import claim_sweep
from vaelab.runs.status import sweep_jobs


def sweep(latent_dim: int, betas: str = "1,2") -> OmegaConf:
    hydra = {"overrides": {"task": [f"model.beta={betas}"]}, "sweeper": {"params": None}}
    return OmegaConf.create({"hydra": hydra, "model": {"latent_dim": latent_dim}})


def test_a_sweep_with_other_settings_is_refused_while_another_command_is_at_work(tmp_path):
    first = claim_sweep(tmp_path, sweep(10))
    first_again = claim_sweep(tmp_path, sweep(10, "1,2,4"))
    with first, first_again, pytest.raises(UserError, match=r"model\.latent_dim: 10 before, 3 now"):
        claim_sweep(tmp_path, sweep(3))
    claim_sweep(tmp_path, sweep(3)).close()  # no command is at work, and no job has begun


def test_the_command_is_refused_before_the_first_checkpoint_of_another(tmp_path):
    command = ("-m", "model.beta=1,2", "sweep.name=mine", "callbacks=none")
    with without_report():
        folder = small(tmp_path, *command, "sweep.resume=false").sweep
        for job in folder.glob("0*"):
            (job / "results.json").unlink()
        with claim_sweep(folder, OmegaConf.load(folder / "sweep.yaml")):
            refused = small(tmp_path, *command, "model.latent_dim=3")
    assert refused.code == 2
    assert "model.latent_dim: 10 before, 3 now" in refused.err
    assert not [*folder.glob("*/results.json")]


def test_each_command_that_wants_a_fresh_folder_gets_its_own(tmp_path):
    register_resolvers()

    def config():
        name = "${vaelab.sweep:${paths.outputs},mine,false,${hydra.overrides.task},null,${hydra.choices}}"
        sweep = {"dir": "${paths.outputs}/sweeps/" + name}
        hydra = {"overrides": {"task": []}, "choices": {}, "sweep": sweep}
        paths = {"outputs": str(tmp_path)}
        return OmegaConf.create({"paths": paths, "sweep": {"resume": False}, "hydra": hydra})

    configs = [config() for _ in range(3)]
    assert len({one.hydra.sweep.dir for one in configs}) == 1  # all of them have looked
    folders = [fresh_folder(one) for one in configs]
    assert [folder.name for folder in folders] == ["mine", "mine-2", "mine-3"]
    assert [Path(one.hydra.sweep.dir) for one in configs] == folders


# patterns


@pytest.mark.parametrize("where", ["command line", "sweep file"])
def test_a_pattern_is_a_sweep_over_the_options_that_it_matches(tmp_path, where):
    options = ["prior=glob([standard*,vamp])"]
    if where == "sweep file":
        (tmp_path / "my/sweep").mkdir(parents=True)
        (tmp_path / "my/sweep/priors.yaml").write_text(
            "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {prior: 'glob([st*,vamp])'}}}\n"
        )
        options = ["sweep=priors", "--config-dir", str(tmp_path / "my")]
    with without_report():
        result = small(tmp_path / "outputs", *options[1:], "-m", "model=vae", *options[:1], "callbacks=none")
    assert result.code == 0, result.err
    assert list(result.records) == ["00-priorstandard_normal", "01-priorvamp"]
    assert planned_jobs(result.sweep) == ["priorstandard_normal", "priorvamp"]
    assert [job.state for job in sweep_jobs(result.sweep)] == ["finished"] * 2


def test_a_pattern_in_python(tmp_path):
    outputs = f"paths.outputs={tmp_path}"
    result = vaelab.sweep("model=vae", "prior=glob(standard*)", *SMALL, "callbacks=none", outputs)
    assert len(result.rows) == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("network=glob(*cnov)", r"network=glob\(\*cnov\) matches no option of network. Valid names: .*conv"),
        ("model.beta=glob(*)", r"matches no option of model\.beta"),
        ("model.beta=range(0,0)", r"model\.beta=range\(0,0\) has no value, and the sweep no job"),
    ],
)
def test_a_sweep_without_a_job_is_refused(tmp_path, setting, message):
    result = small(tmp_path, "-m", setting)
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    with pytest.raises(UserError, match=message):
        vaelab.sweep(setting)


def test_other_settings_stay_as_they_are():
    lines = [
        "model.beta=1,2",
        "+schedule@model.beta=linear",
        "name='a, b'",
        "~logger",
        "seed=range(3)",
    ]
    assert enumerated(lines, []) == lines


# interpolations


@pytest.mark.parametrize("where", ["command line", "sweep file", "Python"])
def test_an_interpolation_is_resolved_in_each_job(tmp_path, where):
    settings, options = ["seed=2,3", "model.latent_dim=${seed}"], []
    if where == "sweep file":
        (tmp_path / "my/sweep").mkdir(parents=True)
        params = {key: value for key, _, value in (setting.partition("=") for setting in settings)}
        hydra = {"mode": "MULTIRUN", "sweeper": {"params": params}}
        (tmp_path / "my/sweep/seeds.yaml").write_text(f"# @package _global_\nhydra: {json.dumps(hydra)}\n")
        settings, options = ["sweep=seeds"], ["--config-dir", str(tmp_path / "my")]
    outputs = tmp_path / "outputs"
    with without_report():
        if where == "Python":
            vaelab.sweep("model=vae", *SMALL, *settings, "callbacks=none", f"paths.outputs={outputs}")
        else:
            result = small(outputs, *options, "-m", "model=vae", *settings, "callbacks=none")
            assert result.code == 0, result.err
    records = [read_record(file.parent) for file in sorted(outputs.glob("sweeps/*/*/results.json"))]
    assert [record["config"]["model"]["latent_dim"] for record in records] == [2, 3]
