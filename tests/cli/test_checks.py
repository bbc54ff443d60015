"""Values are checked by key before torch is imported, each rule by its own declaration."""

import math

import pytest
from omegaconf import OmegaConf

from vaelab.cli.checks import (
    CONTRACT,
    Node,
    Nodes,
    Number,
    OfGroups,
    Place,
    check_values,
    flag,
    integer,
    resolved,
)
from vaelab.errors import UserError, shown
from vaelab.runs.naming import register_resolvers

SCHEDULE = {"_target_": "vaelab.models.RampSchedule", "stop": 4.0}


def config(key: str, value: object) -> dict:
    for group in reversed(key.split(".")):
        value = {group: value}
    return value


def refusal(key: str, value: object) -> str:
    with pytest.raises(UserError) as caught:
        check_values(config(key, value))
    return str(caught.value)


@pytest.mark.parametrize("key", CONTRACT)
def test_a_rule_takes_what_it_declares_and_refuses_the_rest(key):
    rule = CONTRACT[key]
    bad: list[object] = [["a"]]
    if isinstance(rule, Number):
        least = rule.least if math.isfinite(rule.least) else 0
        good = [
            least + 1,
            *rule.also,
            *([] if rule.above else [least]),
            *([SCHEDULE] if rule.schedule else []),
        ]
        bad += ["a", True, math.nan, math.inf, {"stop": 4.0}]
        bad += [least - 2] if math.isfinite(rule.least) else []
        bad += [least] if rule.above else []
        bad += [least + 0.5] if rule.whole else []
    elif isinstance(rule, Node):
        good = [{}, *([None] if rule.optional else [])]
    elif isinstance(rule, Place):
        good, bad = ["a", "/a/b", 7], [*bad, "", "~", None]
    elif isinstance(rule, OfGroups):
        good, bad = [None, [0, SCHEDULE]], [*bad, "a", [-1], [True], [None], -1, math.nan]
    elif isinstance(rule, Nodes):
        good = [[{}], [], None]
    else:
        good = list(getattr(rule, "options", [None, "a", 7]))
    for value in good:
        check_values(config(key, value))
    for value in bad:
        assert refusal(key, value) == f"{key}={shown(value)}: must be {rule.meaning(value)}."


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("data.train_size", 0, "a whole number >= 1, or null"),
        ("trainer.max_steps", -2, "a whole number >= 0, or -1"),
        ("optimizer.lr", 0, "a number > 0"),
        ("model.beta", None, "a number >= 0"),
        ("model.target_distortion", "a", "a number, or null."),
        ("logger.mode", "ofline", "offline, online or disabled (did you mean offline?)"),
        ("sweep.resume", 1, "true or false"),
    ],
)
def test_the_message_names_key_and_value_and_says_what_would_be_right(key, value, text):
    assert refusal(key, value).startswith(f"{key}={'null' if value is None else value}: must be {text}")


@pytest.mark.parametrize("name", ["value", "start", "stop", "values"])
@pytest.mark.parametrize("key", [key for key, rule in CONTRACT.items() if getattr(rule, "schedule", False)])
def test_a_schedule_has_the_range_of_the_number_in_whose_place_it_stands(key, name):
    def schedule(level: object) -> dict:
        return {"_target_": "own.Schedule", name: [0.0, level] if name == "values" else level, "end": -3}

    check_values(config(key, schedule(0.5)))
    for bad in (-4 if math.isfinite(CONTRACT[key].least) else math.nan, math.inf, "a", None, True):
        assert refusal(key, schedule(bad)).startswith(f"{key}.{name}={shown(bad)}: must be a number")


def test_a_flag_is_no_number_and_a_number_no_flag():
    assert not integer(0).fits(True)
    assert not flag.fits(1)


def test_keys_that_the_config_does_not_have_are_not_asked_for():
    check_values({})
    check_values({"model": {"latent_dim": 3}, "network": {}, "logger": None})


# the parts that a variant is defined by

NEEDS = {"likelihood": "a.Wanted", "prior": "a.Prior"}


def with_parts(needs: object, **targets: str) -> dict:
    return {"model": {"needs": needs}, **{group: {"_target_": target} for group, target in targets.items()}}


@pytest.mark.parametrize("needs", [NEEDS, None, {"likelihood": None, "prior": "a.Prior"}])
def test_a_variant_with_its_parts_passes(needs):
    check_values(with_parts(needs, likelihood="a.Wanted", prior="a.Prior"))


def test_a_variant_without_a_part_of_its_own_is_refused():
    with pytest.raises(
        UserError, match=r"needs prior\._target_=a\.Prior, but the config has a\.Other.*out prior="
    ):
        check_values(with_parts(NEEDS, likelihood="a.Wanted", prior="a.Other"))


# resolving


def test_interpolations_are_resolved_into_plain_types():
    cfg = OmegaConf.create({"model": {"beta": 4.0, "hidden": [1, 2]}, "weight": "${model.beta}"})
    plain = resolved(cfg)
    assert plain == {"model": {"beta": 4.0, "hidden": [1, 2]}, "weight": 4.0}
    assert type(plain["model"]) is dict
    assert type(plain["model"]["hidden"]) is list


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"data": {"path": "???"}}, r"data.path is missing.*data.path=\.\.\."),
        ({"weight": "${model.bta}"}, r"can't be resolved: weight: .*model\.bta"),
    ],
)
def test_what_can_not_be_resolved_is_a_users_error(config, text):
    with pytest.raises(UserError, match=text):
        resolved(OmegaConf.create(config))


def test_what_a_resolver_of_ours_refuses_is_said_in_its_own_words():
    register_resolvers()
    with pytest.raises(UserError, match=r"^model\.groups=5: must be a list of 2 to 4 whole numbers >= 1\.$"):
        resolved(OmegaConf.create({"latent_dim": "${vaelab.latent_dim:5}"}))


RAMP = {"_target_": "vaelab.models.RampSchedule", "stop": 1.0}


@pytest.mark.parametrize(
    "key", ["group_beta", "group_free_bits", "objective.kl.group_beta", "objective.kl.free_bits"]
)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1.0, RAMP | {"start": -1.0}], "[1].start=-1.0: must be a number >= 0."),
        ([RAMP | {"stop": -2.0}, 1.0], "[0].stop=-2.0: must be a number >= 0."),
        ([1, {"_target_": "x", "values": [1, -3]}], "[1].values=-3: must be a number >= 0."),
        ([1, -0.5], "=[1, -0.5]: must be *a list, each a number >= 0, or null."),
    ],
)
def test_a_group_has_no_negative_weight_or_floor_at_any_time(key, value, text):
    first, *rest = f"model.{key}".split(".")
    config = value
    for name in reversed(rest):
        config = {name: config}
    if "objective" in rest:
        config["objective"]["kl"]["_target_"] = "vaelab.models.GroupKL"
    with pytest.raises(UserError) as caught:
        check_values({first: config})
    start, _, end = f"model.{key}{text}".partition("*")  # floors may be one number too
    said = str(caught.value)
    assert said.startswith(start)
    assert said.endswith(end)


def test_a_schedule_of_all_floors_has_no_negative_value():
    with pytest.raises(UserError, match=r"^model\.group_free_bits\.start=-1\.0: must be a number >= 0\.$"):
        check_values({"model": {"group_free_bits": RAMP | {"start": -1.0}}})


@pytest.mark.parametrize("value", [None, [], [1, 0.0], [RAMP, 2]])
def test_a_group_has_a_schedule_or_a_number_that_is_not_negative(value):
    check_values({"model": {"group_beta": value, "group_free_bits": value}})
    check_values({"model": {"group_free_bits": RAMP}})
