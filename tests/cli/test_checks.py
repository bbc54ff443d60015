import math

import pytest
from omegaconf import OmegaConf

from vaelab.cli.checks import CONTRACT, check_values, resolved
from vaelab.errors import UserError

SCHEDULE = {"_target_": "vaelab.models.LinearSchedule", "stop": 4.0}
NO_NUMBER = ["a", True, [1], None, math.nan, math.inf]

GOOD = {
    "model.latent_dim": [1, 10, 512],
    "model.beta": [0, 0.5, 4, SCHEDULE],
    "model.lr_factor": [0, 0.5, SCHEDULE],
    "model.capacity": [0, 25.0],
    "model.gamma": [0, 1000, SCHEDULE],
    "model.target_rate": [0.5, 10, SCHEDULE],
    "model.target_distortion": [-100, 0, 80.5, SCHEDULE],
    "model.free_bits": [0, 0.5, SCHEDULE],
    "model.lambda": [0, 100.0, SCHEDULE],
    "model.lambda_od": [0, 10.0, SCHEDULE],
    "model.lambda_d": [0, 10.0, SCHEDULE],
    "model.latent_l2": [0, 0.1, SCHEDULE],
    "model.decoder_l2": [0, 1e-3, SCHEDULE],
    "model.estimator": ["mss", "mws"],
    "model.gradient": ["standard", "dreg"],
    "model.samples": [1, 50],
    "model.discriminator.width": [1, 1000],
    "model.discriminator.depth": [1, 6],
    "model.discriminator.lr": [1e-4, 1],
    "model.codes": [2, 512],
    "model.code_dim": [1, 8],
    "model.commitment": [0, 0.25, SCHEDULE],
    "model.decay": [0, 0.99],
    "prior.decay": [0, 0.99],
    "prior.components": [1, 500],
    "prior.transforms": [1, 5],
    "model.corruption.sigma": [0, 0.3],
    "model.corruption.share": [0, 0.3, 1],
    "network.hidden": [[], [400], [64, 32]],
    "network.blocks": [0, 2],
    "network.dense": [1, 256],
    "likelihood.sigma": [0.1, 1],
    "likelihood.least": [0.002, 1],
    "likelihood.scale": [0.1, 1],
    "likelihood.optimal": [True, False],
    "likelihood.per_pixel": [True, False],
    "data.batch_size": [1, 256],
    "data.val_size": [0, 10_000],
    "data.train_size": [1, 50_000, None],
    "data.test_size": [1, 10_000, None],
    "data.size": [8, 64],
    "data.binarize": ["none", "threshold", "static", "dynamic"],
    "optimizer.lr": [1e-3, 1],
    "optimizer.weight_decay": [0, 0.01],
    "trainer.max_epochs": [0, 30, -1, None],
    "trainer.max_steps": [0, 1000, -1],
    "trainer.log_every_n_steps": [1, 50],
    "trainer.accumulate_grad_batches": [1, 4],
    "logger.mode": ["offline", "online", "disabled"],
    "logger.init_timeout": [0.5, 20],
    "logger.finish_timeout": [0, 30.0],
    "callbacks.last.every_n_epochs": [0, 1, 10],
    "callbacks.last.every_minutes": [0, 0.5, 5, None],
    "callbacks.collapse.stop": [True, False],
    "callbacks.collapse.patience": [1, 5],
    "metrics.aggregate_posterior.images": [2, 10_000],
    "metrics.decoder_test.images": [2, 10_000],
    "callbacks.samples.every_n_epochs": [0, 1, None],
    "callbacks.samples.images": [1, 32],
    "callbacks.samples.density_images": [0, 5000],
    "callbacks.samples.density_components": [1, 10],
    "callbacks.latent_map.every_n_epochs": [0, 5, None],
    "callbacks.latent_map.images": [1, 2000],
    "callbacks.latent_map.projection": ["pca", "umap"],
    "sweep.name": [None, "mine", 7],
    "sweep.resume": [True, False],
    "threads": [1, 8, None],
    "seed": [0, 1, 2**31, None],
    "name": [None, "a run", 7],
    "group": [None, "a sweep", 7],
    "paths.outputs": ["outputs", "/tmp/x"],
}

BAD = {
    "model.latent_dim": [0, -1, 2.5, 10.0, "ten", True, None],
    "model.beta": [-1, {"stop": 4.0}, *NO_NUMBER],
    "model.lr_factor": [-1, {"stop": 4.0}, *NO_NUMBER],
    "model.capacity": [-1, SCHEDULE, *NO_NUMBER],  # it is where a schedule ends
    "model.gamma": [-1, *NO_NUMBER],
    "model.target_rate": [-1, {"stop": 4.0}, *NO_NUMBER],
    "model.target_distortion": [{"stop": 4.0}, *NO_NUMBER],
    "model.free_bits": [-0.5, *NO_NUMBER],
    "model.lambda": [-1, *NO_NUMBER],
    "model.lambda_od": [-1, *NO_NUMBER],
    "model.lambda_d": [-1, *NO_NUMBER],
    "model.latent_l2": [-1, *NO_NUMBER],
    "model.decoder_l2": [-1, *NO_NUMBER],
    "model.estimator": ["full", "MSS", None],
    "model.gradient": ["DReG", "double", None],
    "model.samples": [0, -1, 2.5, True, None],
    "model.discriminator.width": [0, 2.5, True, None],
    "model.discriminator.depth": [0, 2.5, True, None],
    "model.discriminator.lr": [0, -1e-4, *NO_NUMBER],
    "model.codes": [1, 2.5, True, None],
    "model.code_dim": [0, 2.5, True, None],
    "model.commitment": [-1, *NO_NUMBER],
    "model.decay": [-0.1, 1, *NO_NUMBER],
    "prior.decay": [-0.1, 1, *NO_NUMBER],
    "prior.components": [0, 2.5, True, None],
    "prior.transforms": [0, 2.5, True, None],
    "model.corruption.sigma": [-0.1, *NO_NUMBER],
    "model.corruption.share": [-0.1, 1.1, *NO_NUMBER],
    "network.blocks": [-1, 2.5, True, None],
    "network.dense": [0, 2.5, True, None],
    "network.hidden": [400, [0], [64, -1], [2.5], [True], ["64"], None],
    "likelihood.sigma": [0, -0.1, *NO_NUMBER],
    "likelihood.least": [0, -0.1, *NO_NUMBER],
    "likelihood.scale": [0, -0.1, *NO_NUMBER],
    "likelihood.optimal": ["yes", 1, None],
    "likelihood.per_pixel": ["yes", 0, None],
    "data.batch_size": [0, -5, 2.5, "many", True, None],
    "data.val_size": [-1, 0.1, True, None],
    "data.train_size": [0, -1, 0.5, "all", False],
    "data.test_size": [0, -1, 0.5, "all", False],
    "data.size": [7, 64.0, None],
    "data.binarize": ["Static", "yes", True, None],
    "optimizer.lr": [0, -1e-3, *NO_NUMBER],
    "optimizer.weight_decay": [-1e-3, *NO_NUMBER],
    "trainer.max_epochs": [-2, 1.5, "all", True],
    "trainer.max_steps": [-2, 1.5, None, True],
    "trainer.log_every_n_steps": [0, -1, 0.5, None],
    "trainer.accumulate_grad_batches": [0, -1, 0.5, None],
    "logger.mode": ["of", "Online", None, True],
    "logger.init_timeout": [0, -1, None, "long"],
    "logger.finish_timeout": [-1, None, "long"],
    "callbacks.last.every_n_epochs": [-1, 0.5, None],
    "callbacks.last.every_minutes": [-1, "five", True],
    "callbacks.collapse.stop": ["yes", 1, None],
    "callbacks.collapse.patience": [0, 1.5, None],
    "metrics.aggregate_posterior.images": [1, None, "all"],
    "metrics.decoder_test.images": [1, None, "all"],
    "callbacks.samples.every_n_epochs": [-1, 0.5],
    "callbacks.samples.images": [0, None],
    "callbacks.samples.density_images": [-1, None],
    "callbacks.samples.density_components": [0, 2.5],
    "callbacks.latent_map.every_n_epochs": [-1, "all"],
    "callbacks.latent_map.images": [0, None],
    "callbacks.latent_map.projection": ["tsne", None, "PCA"],
    "sweep.name": [["a"]],
    "sweep.resume": ["yes", 1, None],
    "threads": [0, -1, 1.5, "all"],
    "seed": [-1, 0.5, "zero", True, False],
    "name": [["a"], {"a": 1}],
    "group": [["a"], {"a": 1}],
    "paths.outputs": [["a"], {"a": 1}],
}


def config(key: str, value: object) -> dict:
    *groups, last = key.split(".")
    found = {last: value}
    for group in reversed(groups):
        found = {group: found}
    return found


def cases(table: dict) -> list:
    return [
        pytest.param(key, value, id=f"{key}={value}") for key, values in table.items() for value in values
    ]


def test_every_key_of_the_contract_is_tried():
    assert set(GOOD) == set(BAD) == set(CONTRACT)


@pytest.mark.parametrize(("key", "value"), cases(GOOD))
def test_good_values_pass(key, value):
    check_values(config(key, value))


@pytest.mark.parametrize(("key", "value"), cases(BAD))
def test_bad_values_are_refused_by_key_and_value(key, value):
    with pytest.raises(UserError) as caught:
        check_values(config(key, value))
    text = str(caught.value)
    shown = "null" if value is None else str(value)
    assert text.startswith(f"{key}={shown} does not fit: it must be ")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("key", "value", "right"),
    [
        ("model.latent_dim", 0, "a whole number >= 1"),
        ("data.train_size", 0, "a whole number >= 1, or null"),
        ("trainer.max_steps", -2, "a whole number >= 0, or -1"),
        ("optimizer.lr", 0, "a number > 0"),
        ("model.beta", -1, "a number >= 0"),
        ("network.hidden", 400, "a list of whole numbers >= 1"),
        ("data.binarize", "stat", "one of none, threshold, static, dynamic"),
    ],
)
def test_the_message_says_what_would_be_right(key, value, right):
    with pytest.raises(UserError) as caught:
        check_values(config(key, value))
    assert right in str(caught.value)


def test_a_typo_in_a_word_gets_the_nearest():
    with pytest.raises(UserError, match=r"did you mean offline\?"):
        check_values(config("logger.mode", "ofline"))


def test_keys_that_the_config_does_not_have_are_not_asked_for():
    check_values({})
    check_values({"model": {"latent_dim": 3}, "network": None, "logger": {}})


def test_one_bad_value_among_good_ones_is_found():
    good = {"model": {"latent_dim": 3, "beta": 1.0}, "seed": 0}
    check_values(good)
    with pytest.raises(UserError, match="seed=-1"):
        check_values({**good, "seed": -1})


# the parts that a variant is defined by

NEEDS = {"likelihood": "a.Wanted", "prior": "a.Prior"}


def with_parts(needs: object, **targets: str) -> dict:
    return {"model": {"needs": needs}, **{group: {"_target_": target} for group, target in targets.items()}}


@pytest.mark.parametrize("needs", [NEEDS, None, {"likelihood": None, "prior": "a.Prior"}])
def test_a_variant_with_its_parts_passes(needs):
    check_values(with_parts(needs, likelihood="a.Wanted", prior="a.Prior"))


@pytest.mark.parametrize(
    ("chosen", "group"), [(("a.Other", "a.Prior"), "likelihood"), (("a.Wanted", "a.Other"), "prior")]
)
def test_a_variant_without_a_part_of_its_own_is_refused(chosen, group):
    likelihood, prior = chosen
    with pytest.raises(UserError, match=rf"a {group} of its own, {NEEDS[group]}, but .* out {group}="):
        check_values(with_parts(NEEDS, likelihood=likelihood, prior=prior))
    check_values(with_parts({**NEEDS, group: None}, likelihood=likelihood, prior=prior))


# resolving


def test_interpolations_are_resolved_into_plain_types():
    cfg = OmegaConf.create({"model": {"beta": 4.0, "hidden": [1, 2]}, "weight": "${model.beta}"})
    plain = resolved(cfg)
    assert plain == {"model": {"beta": 4.0, "hidden": [1, 2]}, "weight": 4.0}
    assert type(plain["model"]) is dict
    assert type(plain["model"]["hidden"]) is list


def test_a_missing_value_is_asked_for():
    with pytest.raises(UserError, match=r"data.path is missing.*data.path=\.\.\."):
        resolved(OmegaConf.create({"data": {"path": "???"}}))


def test_an_interpolation_to_nowhere_is_a_users_error():
    with pytest.raises(UserError, match=r"can't be resolved.*model\.bta"):
        resolved(OmegaConf.create({"weight": "${model.bta}"}))
