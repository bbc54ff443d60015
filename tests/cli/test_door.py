"""Bad values of every kind for every key: refused in a line or two that names a key, or accepted."""

import re
import warnings

import pytest
from omegaconf import OmegaConf

from cli_runner import small
from support.door import BAD, GROUPS, config, keys, options, outcome, sample, with_option
from vaelab.cli.compose import composed
from vaelab.cli.evaluate import config_of
from vaelab.errors import UserError
from vaelab.training.arguments import mismatch
from vaelab.training.assembly import build

ROOT = (
    "seed",
    "name",
    "group",
    "threads",
    "compile",
    "steps_at_once",
    "sweep",
    "sweep.name",
    "sweep.resume",
    "paths",
    *GROUPS,
    "logger",
)


def check(cfg, key, kind, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = outcome(cfg, key, BAD[kind], folder)
        except Exception as error:
            raise AssertionError(f"{key}={BAD[kind]}: {type(error).__name__} came through") from error
    if result != "accepted":
        assert len(result.splitlines()) <= 2, (key, kind, result)
        assert len(result) < 500, (key, kind, result)
        assert not folder.exists(), (key, kind, result)


def test_a_bad_value_of_a_key_is_refused_or_accepted(tmp_path):
    cases = [case for group in GROUPS for case in sample(group, ["default"])]
    for number, (_, key, kind) in enumerate(cases[::4]):
        check(config(), key, kind, tmp_path / str(number))


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_a_bad_value_of_every_key_of_every_option_is_refused_or_accepted(tmp_path, group):
    cases = sample(group, options(group), times=2)
    assert {kind for _, _, kind in cases} == set(BAD)
    for number, (option, key, kind) in enumerate(cases):
        check(with_option(group, option), key, kind, tmp_path / str(number))


def test_a_bad_value_at_the_root_is_refused_or_accepted(tmp_path):
    for number, kind in enumerate([*BAD] * 4):
        key = ROOT[number % len(ROOT)]
        check(config(), key, kind, tmp_path / str(number))


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("optimizer.fused=maybe", "optimizer.fused=maybe: must be true or false or null"),
        ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val=-1: must be a number >= 0, or null"),
        ("seed=99999999999999999999", "must be a whole number >= 0 and <= 4,294,967,295, or null"),
        ("seed=4294967296", "must be a whole number >= 0 and <= 4,294,967,295, or null"),
        (
            "trainer.val_check_interval=1000",
            "trainer: `val_check_interval` (1000) must be less than",
        ),
        ("trainer.limit_val_batches=0.1", "trainer: You requested to check 0.1 of the `val_dataloader`"),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches=0: must be a number > 0, or null"),
        ("trainer.max_time=5", "trainer.max_time=5: must be text"),
        ("model.latent_dim=1000000000000000", "which this machine can't give"),
        ("network.hidden=[1000000000000000]", "which this machine can't give"),
        ("model.objective=null", "model.objective=null: must be a node"),
        ("model.beta='\"0.5\"'", 'model.beta="0.5": must be a number'),
        (
            "+callbacks.stop={_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:val_loss}",
            "callbacks.stop.monitor=val_loss: nothing is logged under this name. Did you mean 'val/",
        ),
        (
            "+callbacks.stop={_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:val/elb}",
            "monitor=val/elb: this run logs nothing under this name. Did you mean 'val/elbo'?",
        ),
        (
            "+callbacks.keep={_target_:pytorch_lightning.callbacks.ModelCheckpoint,monitor:train/los}",
            "monitor=train/los: this run logs nothing under this name. Did you mean 'train/loss'?",
        ),
        ("model.objective.kl.weight=-1", "model.objective.kl.weight=-1: must be a number >= 0"),
        (
            "+callbacks.lr._target_=pytorch_lightning.callbacks.LearningRateMonitor",
            "trainer: Cannot use `LearningRateMonitor` callback with `Trainer` that has no logger",
        ),
    ],
)
def test_the_command_says_it_in_a_line_with_exit_code_2_and_leaves_no_folder(tmp_path, setting, text):
    result = small(tmp_path, setting)
    assert result.code == 2
    assert text in " ".join(result.err.split())
    assert len(result.err.strip().splitlines()) <= 3
    assert "Traceback" not in result.err + result.out
    assert "not foreseen" not in result.err
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.parametrize("few", ["data.train_size=20000", "data.train_size=32"])
def test_drawn_images_that_do_not_fit_the_memory_name_their_size(tmp_path, few):
    result = small(tmp_path, "data=sprites", "data.size=3000000", few, "data.val_size=8")
    assert result.code == 2
    assert "data.size=3000000: it needs" in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_what_a_run_logs_can_be_monitored(tmp_path):
    stop = "+callbacks.stop={_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:%s,strict:true}"
    for name in ("val/kl/dim_00", "train/loss"):
        assert small(tmp_path / name, stop % name, "callbacks=no_pictures").code == 0


@pytest.mark.parametrize("setting", ["trainer.val_check_interval=1000", "trainer.limit_val_batches=0.1"])
def test_what_lightning_refuses_starts_no_run_of_wandb(tmp_path, wandb_offline, setting):
    result = small(tmp_path, "logger=wandb", setting)
    assert result.code == 2
    assert not (tmp_path / "wandb").exists()
    assert not list((tmp_path / "runs").glob("*"))


def test_a_key_of_a_callback_that_is_left_out_is_not_about_a_sweep(tmp_path):
    result = small(tmp_path, "callbacks=none", "callbacks.samples=null")
    assert result.code == 2
    assert "There is no key 'callbacks.samples'" in result.err
    assert "sweep" not in result.err


EVALUATIONS = {
    name: node
    for option in ("full", "code_prior")
    for name, node in composed("evaluate", [f"eval={option}"]).eval.items()
}


@pytest.mark.parametrize("name", sorted(EVALUATIONS))
def test_a_bad_value_of_an_evaluation_is_refused_or_accepted(name):
    node = EVALUATIONS[name]
    for key in node:
        for value in BAD.values():
            cfg = OmegaConf.create({"eval": {name: node}})
            OmegaConf.update(cfg, f"eval.{name}.{key}", value, merge=False)
            text = refusal(f"eval.{name}", cfg.eval[name])
            assert text == "" or text.startswith(f"eval.{name}")
            assert len(text.splitlines()) <= 2


def refusal(key, node):
    try:
        build(key, node)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("eval.latent_space.images=-5", "eval.latent_space.images must be >= 2, got -5"),
        ("eval.latent_space.images=abc", "eval.latent_space.images=abc: must be a whole number"),
        ("eval.latent_space=5", "eval.latent_space names no class"),
        ("threads=0", "threads=0: must be a whole number >= 1, or null"),
    ],
)
def test_an_evaluation_says_what_is_wrong_before_it_measures(setting, text):
    def build_all():
        for name, node in config_of([setting]).eval.items():
            build(f"eval.{name}", node)

    with pytest.raises(UserError, match=f"^{re.escape(text)}"):
        build_all()


@pytest.mark.parametrize(
    ("value", "declared", "text"),
    [
        ("a", int, "a whole number"),
        (True, int, "a whole number"),
        (2**63, int, "a whole number"),
        (float("nan"), float, "a number"),
        (None, bool | str, "true or false or text"),
        ([0.9], tuple[float, float], "a list of 2, each a number"),
        ("abc", list[int] | None, "a list, each a whole number or null"),
    ],
)
def test_a_value_is_compared_with_the_declared_type(value, declared, text):
    assert mismatch(value, declared) == text


def test_every_key_of_the_config_belongs_to_a_group_that_is_tried():
    tried = {*GROUPS, *(key.partition(".")[0] for key in ROOT), "experiment", "hydra"}
    assert {key.partition(".")[0] for key in keys(OmegaConf.to_container(config(), resolve=False))} <= tried
