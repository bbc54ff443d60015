from pathlib import Path

import pytest
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vaelab.runs.naming import LONGEST, job_folder, run_name, swept_name, swept_overrides


def hydra(
    folder: Path, task: list[str], asked: list[str], params: dict | None = None, num: int = 3
) -> DictConfig:
    """A job of a multirun: ``asked`` on the command line, ``params`` in a sweep file."""
    OmegaConf.save(OmegaConf.create({"hydra": {"overrides": {"task": asked}}}), folder / "multirun.yaml")
    return OmegaConf.create(
        {
            "mode": RunMode.MULTIRUN,
            "overrides": {"task": task},
            "sweeper": {"params": params},
            "sweep": {"dir": str(folder)},
            "runtime": {"choices": {"model": "beta_vae", "data": "digits"}},
            "job": {"num": num},
        }
    )


# names


@pytest.mark.parametrize(
    ("swept", "name"),
    [
        ({}, ""),
        ({"model.beta": "4"}, "beta4"),
        ({"model.beta": "0.5", "seed": "1"}, "beta0.5-seed1"),
        ({"optimizer.lr": "1e-3"}, "lr1e-3"),
        ({"network.hidden": "[400,200]"}, "hidden_400_200"),
        ({"name": "../../etc/passwd"}, "name.._.._etc_passwd"),
        ({"data.path": "/a b/c:d*?.npz"}, "path_a_b_c_d_.npz"),
        ({"model": "'x'"}, "model_x"),
    ],
)
def test_swept_values_become_a_file_name(swept, name):
    assert swept_name(swept) == name


def test_keys_that_end_alike_are_told_apart():
    name = swept_name({"model.size": "1", "data.size": "2", "seed": "3"})
    assert name == "model.size1-data.size2-seed3"


def test_a_name_has_an_end():
    long = {f"group.key_number_{i}": "some-value" for i in range(50)}
    assert len(swept_name(long)) == LONGEST


def of_an_agent(task: list[str]) -> DictConfig:
    return OmegaConf.create(
        {
            "mode": RunMode.RUN,
            "overrides": {"task": task},
            "runtime": {"choices": {"model": "beta_vae", "data": "digits"}},
        }
    )


def test_a_run_of_wandbs_agent_is_named_after_its_settings(monkeypatch, tmp_path):
    task = ["model=beta_vae", "logger=wandb", "logger.mode=online", "group='ab12'", "~callbacks.samples"]
    job = of_an_agent([*task, "model.beta=0.5", "+data.extra=x", "seed=1"])
    for variable in ("WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.delenv(variable, raising=False)
    assert run_name(job) == "beta_vae-digits"
    monkeypatch.setenv("WANDB_SWEEP_ID", "ab12")
    assert run_name(job) == "beta_vae-digits-beta0.5-extrax-seed1"
    file = tmp_path / "config-run.yaml"
    file.write_text("wandb_version: 1\nmodel.beta:\n  value: 0.5\nmodel:\n  value: beta_vae\n")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(file))
    assert run_name(job) == "beta_vae-digits-beta0.5"


# what is swept


def test_a_single_run_sweeps_nothing(tmp_path):
    cfg = hydra(tmp_path, ["model.beta=4"], ["model.beta=4"])
    cfg.mode = RunMode.RUN
    assert swept_overrides(cfg) == {}
    assert run_name(cfg) == "beta_vae-digits"


def test_only_what_varies_is_swept(tmp_path):
    cfg = hydra(
        tmp_path,
        task=["model=beta_vae", "model.beta=4", "trainer.max_epochs=3", "seed=1"],
        asked=["model=beta_vae", "model.beta=1,4", "trainer.max_epochs=3", "seed=range(0,3)"],
    )
    assert swept_overrides(cfg) == {"model.beta": "4", "seed": "1"}
    assert run_name(cfg) == "beta_vae-digits-beta4-seed1"
    assert job_folder(cfg) == "03-beta4-seed1"


def test_lists_may_be_swept_and_a_comma_inside_of_a_list_is_not_a_sweep(tmp_path):
    cfg = hydra(tmp_path, ["network.hidden=[400,200]", "seed=1"], ["network.hidden=[400,200]", "seed=0,1"])
    assert swept_overrides(cfg) == {"seed": "1"}
    cfg = hydra(tmp_path, ["network.hidden=[400,200]"], ["network.hidden=[400],[400,200]"])
    assert job_folder(cfg) == "03-hidden_400_200"


@pytest.mark.parametrize(
    ("asked", "swept"),
    [
        (["sweep=beta"], {"model.beta": "4", "seed": "0"}),
        (["sweep=beta", "model.beta=4"], {"seed": "0"}),  # one value on the command line ends the sweep of it
    ],
)
def test_a_sweep_file_names_what_varies(tmp_path, asked, swept):
    params = {"model.beta": "1,2,4", "seed": "range(0,2)"}
    assert swept_overrides(hydra(tmp_path, ["model.beta=4", "seed=0"], asked, params)) == swept


def test_a_swept_group_is_in_the_name_once(tmp_path):
    cfg = hydra(tmp_path, ["model=beta_vae", "model.beta=4"], ["model=vae,beta_vae", "model.beta=1,4"])
    assert swept_overrides(cfg) == {"model": "beta_vae", "model.beta": "4"}
    assert run_name(cfg) == "beta_vae-digits-beta4"
    assert job_folder(cfg) == "03-modelbeta_vae-beta4"


def test_jobs_have_folders_of_their_own(tmp_path):
    first, last = (hydra(tmp_path, ["seed=1"], ["seed=1,1"], num=num) for num in (0, 117))
    assert job_folder(first) == "00-seed1"
    assert job_folder(last) == "117-seed1"


def test_another_sweeper_says_it_by_the_jobs_own_overrides(tmp_path):
    cfg = hydra(tmp_path, ["model.beta=3.7"], [])
    (tmp_path / "multirun.yaml").unlink()
    assert swept_overrides(cfg) == {"model.beta": "3.7"}
