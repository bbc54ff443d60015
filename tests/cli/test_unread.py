"""Keys that nothing reads are refused, and only those."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cli_runner import small, without_report
from vaelab.cli.compose import composed
from vaelab.cli.paths import conf_dir
from vaelab.cli.unread import check_choices, check_keys
from vaelab.errors import UserError

OPTIONS = [
    f"{group}={file.stem}"
    for group in ("model", "network", "likelihood", "prior", "data", "optimizer", "trainer", "metrics")
    for file in sorted((conf_dir() / group).glob("[a-z]*.yaml"))
] + ["callbacks=none", "logger=none", "experiment=demo", "experiment=ppca", "sweep=beta", "sweep=family"]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_key_of_every_option_is_read(option: str):
    check_keys(composed("train", [option]))


@pytest.mark.parametrize(
    ("setting", "key", "hint"),
    [
        ("++model.bta=4", "model.bta", "'beta'"),
        ("+model.latentdim=4", "model.latentdim", "'latent_dim'"),
        ("+beta=4", "beta", "'model.beta'"),
        ("+lr=4", "lr", "'optimizer.lr'"),
        ("+data.num_workers=4", "data.num_workers", "batch_size"),
        ("+data.trainsize=4", "data.trainsize", "'train_size'"),
        ("+sweep.nam=a", "sweep.nam", "'name'"),
        ("+paths.output=a", "paths.output", "'outputs'"),
        ("+modle.beta=a", "modle", "'model'"),
    ],
)
def test_a_key_that_nothing_reads_is_refused_with_the_nearest(setting: str, key: str, hint: str):
    with pytest.raises(UserError) as error:
        check_keys(composed("train", [setting]))
    assert f"Nothing reads the key {key!r}." in str(error.value)
    assert hint in str(error.value)


def test_a_typo_in_a_file_of_the_users_own_is_refused(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("defaults: [vae, _self_]\nlatentdim: 4\n")
    with pytest.raises(UserError, match=r"'model\.latentdim'\. Did you mean 'latent_dim'"):
        check_keys(composed("train", ["model=mine"], str(tmp_path)))


@pytest.mark.parametrize(
    "use",
    [
        "objective: {kl: {weight: '${model.mine}'}}",
        "objective: {kl: {weight: '${...mine}'}}",
        "beta: ${.mine}",
        "beta: '${oc.decode: ${model.mine}}'",
    ],
)
def test_a_key_that_another_uses_is_read(tmp_path: Path, use: str):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(f"defaults: [vae, _self_]\nmine: 4\n{use}\n")
    check_keys(composed("train", ["model=mine"], str(tmp_path)))


def test_an_inherited_key_may_go_unread_but_not_one_of_the_command_line():
    cfg = composed("train", ["model=vae", "++model.gamma=3"])
    check_keys(cfg, ["model=vae"])
    with pytest.raises(UserError, match=r"Nothing reads the key 'model\.gamma'"):
        check_keys(cfg, ["model=vae", "++model.gamma=3"])


def test_a_key_below_one_that_is_used_is_read():
    check_keys(OmegaConf.create({"model": {"own": {"a": {"b": 1}}}, "prior": {"x": "${model.own}"}}))
    check_keys(OmegaConf.create({"model": {"own": {"a": {"b": 1}}}, "prior": {"x": "${model.own.a.b}"}}))
    with pytest.raises(UserError, match=r"model\.own"):
        check_keys(OmegaConf.create({"model": {"own": 1, "own2": 2}, "prior": {"x": "${model.own2}"}}))


def test_a_schedule_and_a_number_in_its_place_exclude_each_other():
    cfg = composed("train", ["+schedule@model.beta=linear"])
    check_choices(cfg, {"schedule@model.beta": "linear", "model": "vae", "sweep": None})
    cfg = composed("train", ["+schedule@model.beta=linear", "model.beta=0.5"])
    with pytest.raises(
        UserError, match=r"\+schedule@model\.beta=linear and model\.beta=0\.5 exclude each other"
    ):
        check_choices(cfg, {"schedule@model.beta": "linear"})


def test_a_sweep_may_vary_a_number_that_one_of_its_variants_does_not_have(tmp_path: Path):
    (tmp_path / "my" / "experiment").mkdir(parents=True)
    (tmp_path / "my" / "experiment" / "both.yaml").write_text("# @package _global_\nmodel: {beta: 1}\n")
    folder = f"--config-dir={tmp_path / 'my'}"
    settings = ("experiment=both", "model=vae,target_rate_vae", "model.beta=1,2", "callbacks=none")
    with without_report():
        result = small(tmp_path / "out", folder, "-m", *settings)
    assert result.code == 0, result.err
    assert [record["status"] for record in result.records.values()] == ["finished"] * 4
