import math

import pytest
import torch
from torch import nn

from vaelab.schedules import Constant, as_schedule


def test_a_constant_is_the_same_at_every_step():
    schedule = Constant(4.0)
    assert [schedule(step).item() for step in (0, 1, 10_000)] == [4.0, 4.0, 4.0]


def test_a_constant_is_a_scalar_buffer_that_checkpoints_leave_out():
    schedule = Constant(4)
    value = dict(schedule.named_buffers())["value"]
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert schedule.state_dict() == {}
    assert list(schedule.parameters()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_constant_is_finite(value):
    with pytest.raises(ValueError, match="finite"):
        Constant(value)


def test_a_number_becomes_a_constant_and_a_schedule_stays():
    schedule = nn.Identity()
    assert as_schedule(schedule) is schedule
    assert as_schedule(0.5)(7).item() == 0.5
