import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from vaelab.models.objectives import KL, Distortion, Objective
from vaelab.models.schedules import (
    ConstantSchedule,
    CyclicSchedule,
    PiecewiseSchedule,
    RampSchedule,
    as_schedule,
    ends_too_late,
    last_steps,
    readings,
    set_total_steps,
)

STEPS = 41  # more than the 40 of the training


def values(schedule: nn.Module, total: int = 40) -> np.ndarray:
    set_total_steps(schedule, total)
    return np.array([schedule(step).item() for step in range(STEPS)])


def test_a_number_becomes_a_constant_and_a_schedule_stays():
    schedule = nn.Identity()
    assert as_schedule(schedule) is schedule
    constant = as_schedule(0.5)
    assert [constant(step).item() for step in (0, 1, 10_000)] == [0.5] * 3
    assert {name: value.shape for name, value in constant.named_buffers()} == {"value": ()}


# each against a loop over its closed form: from 1 to 5 between the steps 8 and 24


def ramp(shape) -> list[float]:
    shares = [min(max(step - 8, 0) / 16, 1.0) for step in range(STEPS)]
    return [1 + 4 * shape(share) for share in shares]


def logistic(k: float):
    def s(p):
        return 1 / (1 + math.exp(-k * (p - 0.5)))

    return lambda p: (s(p) - s(0)) / (s(1) - s(0))


RAMPS = {
    "linear": ({}, lambda p: p),
    "cosine": ({"shape": "cosine"}, lambda p: math.sin(math.pi * p / 2) ** 2),
    "sigmoid": ({"shape": "sigmoid"}, logistic(12.0)),
    "flat sigmoid": ({"shape": "sigmoid", "sharpness": 2.0}, logistic(2.0)),
    "exponential": ({"shape": "exponential"}, lambda p: (5.0**p - 1) / 4),
}


@pytest.mark.parametrize("times", [{"begin": 0.2, "end": 0.6}, {"begin": 8, "end": 24, "unit": "steps"}])
@pytest.mark.parametrize("name", RAMPS)
def test_a_ramp_follows_its_shape_and_is_constant_outside(name, times):
    settings, shape = RAMPS[name]
    schedule = RampSchedule(start=1.0, stop=5.0, **times, **settings)
    np.testing.assert_allclose(values(schedule), ramp(shape), rtol=2e-6)


def test_unless_said_a_ramp_takes_the_whole_training_and_it_may_fall():
    np.testing.assert_allclose(values(RampSchedule(stop=2.0)), np.arange(STEPS) / 20, rtol=1e-6)
    np.testing.assert_allclose(values(RampSchedule(start=4.0, stop=0.0))[[0, 10, 40]], [4, 3, 0])


@pytest.mark.parametrize("cycles", [1, 3, 4, 7])
@pytest.mark.parametrize("total", [40, 41, 1000])
def test_cyclic_is_fus_closed_form(cycles, total):
    schedule = CyclicSchedule(stop=2.0, cycles=cycles, ramp=0.4)
    set_total_steps(schedule, total)
    for step in range(total):
        # exact in whole numbers: how far step * M / T is above a whole number
        tau = (step * cycles % total) / total
        assert schedule(step).item() == pytest.approx(2.0 * min(tau / 0.4, 1.0), abs=2e-5)


def test_cyclic_in_steps_stays_up_when_its_cycles_are_over():
    found = values(CyclicSchedule(stop=1.0, start=0.5, cycles=2, ramp=0.5, end=20, unit="steps"))
    np.testing.assert_allclose(found[:10], [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(found[10:20], found[:10], rtol=1e-6)
    np.testing.assert_allclose(found[20:], 1.0)


@pytest.mark.parametrize("unit", ["steps", "share"])
def test_piecewise_is_straight_between_its_points(unit):
    times, heights = [4, 10, 10, 30], [1.0, 4.0, 0.0, 2.0]
    given = times if unit == "steps" else [time / 40 for time in times]
    expected = [
        np.interp(step, times[:2], heights[:2]) if step < 10 else np.interp(step, times[2:], heights[2:])
        for step in range(STEPS)
    ]
    np.testing.assert_allclose(values(PiecewiseSchedule(given, heights, unit)), expected, atol=1e-6)


def test_one_point_is_a_constant():
    assert set(values(PiecewiseSchedule([0.5], [3.0]))) == {3.0}


BAD = {
    "unit": (RampSchedule, {"stop": 1.0, "unit": "epochs"}, "unit must be share or steps"),
    "end in steps": (RampSchedule, {"stop": 1.0, "unit": "steps"}, "end is missing"),
    "order": (RampSchedule, {"stop": 1.0, "begin": 0.5, "end": 0.5}, "begin must be .* >= 0 and < 0.5"),
    "past": (RampSchedule, {"stop": 1.0, "begin": -0.5}, "begin must be .* >= 0"),
    "shape": (RampSchedule, {"stop": 1.0, "shape": "cubic"}, "shape must be one of linear, .*, got cubic"),
    "nan": (RampSchedule, {"stop": math.nan}, "stop must be a finite number"),
    "nested": (RampSchedule, {"stop": ConstantSchedule(1.0)}, "finite number, got ConstantSchedule"),
    "sharpness": (RampSchedule, {"stop": 1.0, "sharpness": 0.0}, "sharpness must be .* > 0"),
    "zero": (RampSchedule, {"stop": 1.0, "shape": "exponential"}, "start must be a finite number > 0"),
    "half a cycle": (CyclicSchedule, {"stop": 1.0, "cycles": 1.5}, "whole number"),
    "no ramp": (CyclicSchedule, {"stop": 1.0, "ramp": 0.0}, "ramp"),
    "no length": (CyclicSchedule, {"stop": 1.0, "end": 0.0}, "end"),
    "cyclic in steps": (CyclicSchedule, {"stop": 1.0, "unit": "steps"}, "end is missing"),
    "lengths": (PiecewiseSchedule, {"times": [0, 1], "values": [1.0]}, "the same length, got 2 and 1"),
    "no points": (PiecewiseSchedule, {"times": [], "values": []}, "the same length"),
    "backwards": (PiecewiseSchedule, {"times": [1, 0], "values": [1.0, 2.0]}, "decrease"),
    "infinite": (PiecewiseSchedule, {"times": [0, 1], "values": [1.0, math.inf]}, "finite"),
    "constant": (ConstantSchedule, {"value": "a"}, "value must be a finite number, got a"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_sense_is_refused(case):
    kind, settings, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        kind(**settings)


# what all of them have in common

ALL = {
    "linear": lambda scale: RampSchedule(stop=scale, end=0.5),
    "cosine": lambda scale: RampSchedule(stop=scale, begin=0.2, shape="cosine"),
    "sigmoid": lambda scale: RampSchedule(stop=scale, shape="sigmoid"),
    "exponential": lambda scale: RampSchedule(stop=scale, start=0.1, shape="exponential"),
    "cyclic": lambda scale: CyclicSchedule(stop=scale, ramp=0.3),
    "piecewise": lambda scale: PiecewiseSchedule([0.0, 0.5, 0.5, 1.0], [0.0, scale, 0.2, 1.0]),
}


@pytest.mark.parametrize("name", ALL)
def test_a_step_may_be_a_tensor_and_a_share_of_an_unknown_length_is_undefined(name):
    schedule = ALL[name](2.0)
    assert schedule.state_dict() == {}
    assert schedule(3).isnan()
    set_total_steps(schedule, 40)
    for step in (0, 3, 17, 39):
        assert schedule(torch.tensor(step)).shape == ()
        assert torch.equal(schedule(torch.tensor(step)), schedule(step))


@pytest.mark.parametrize("name", ALL)
def test_schedules_stack(name):
    several = [ALL[name](scale) for scale in (0.5, 2.0, 3.0)]
    for schedule, total in zip(several, (20, 40, 60), strict=True):
        set_total_steps(schedule, total)
    parameters, buffers = stack_module_state(several)
    assert parameters == {}

    def at(buffers, step):
        return functional_call(several[0], buffers, (step,))

    for step in (0, 7, 12, 30):
        together = vmap(at, in_dims=(0, None))(buffers, torch.tensor(step))
        alone = torch.stack([schedule(step) for schedule in several])
        torch.testing.assert_close(together, alone)
    assert len(set(together.tolist())) > 1


def test_the_training_has_no_end():
    model = nn.ModuleDict({"objective": Objective({"kl": KL(RampSchedule(stop=1.0))})})
    with pytest.raises(ValueError, match="schedule kl_weight counts in shares of the training"):
        set_total_steps(model, math.inf)
    in_steps = Objective({"kl": KL(RampSchedule(stop=1.0, end=10, unit="steps"))})
    set_total_steps(in_steps, math.inf)
    assert in_steps.terms["kl"].weight(5).item() == 0.5


def test_readings_are_what_changes_by_short_names():
    terms = {"distortion": Distortion(), "kl": KL(RampSchedule(stop=1.0)), "more": KL(2.0)}
    model = nn.ModuleDict({"objective": Objective(terms)})
    set_total_steps(model, 10)
    found = {name: value.item() for name, value in readings(model, 4).items()}
    assert found == {"kl_weight": pytest.approx(0.4)}


@pytest.mark.parametrize(
    ("schedule", "end"),
    [
        (RampSchedule(1.0, end=50, unit="steps"), 50),
        (RampSchedule(1.0, end=0.5), 20),
        (RampSchedule(1.0), 40),
        (RampSchedule(1.0, end=1.25), 50),
        (CyclicSchedule(1.0, end=41, unit="steps"), 41),
        (PiecewiseSchedule([0, 10, 60], [0, 1, 2], unit="steps"), 60),
        (PiecewiseSchedule([0, 1.5], [0, 1]), 60),
    ],
)
def test_a_schedule_that_the_training_does_not_complete_is_found(schedule, end):
    model = Objective({"kl": KL(schedule), "distortion": Distortion(2.0)})
    set_total_steps(model, 40)
    assert ends_too_late(last_steps(model), 40) == (
        {"terms_kl_weight": pytest.approx(end)} if end > 40 else {}
    )
