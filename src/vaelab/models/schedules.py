"""Numbers that may change during training: step -> value.

Any number of a term may be a schedule. In YAML a node with a ``_target_`` stands in its place::

    model.beta: {_target_: vaelab.models.LinearSchedule, stop: 4.0, end: 0.5}   # from 0 to 4 in half the training

A step is an optimizer step. The first is taken with the value at step 0, the last of T with that at T - 1.
Times are shares of the whole training, or steps (``unit: steps``). A schedule is a pure function of the step:
it has no state to resume. Its numbers are 0-dim buffers, so that runs which differ only in them stack
(:func:`torch.func.stack_module_state`). They are not part of the checkpoint: the config holds them.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.errors import UserError


def number(module: nn.Module, name: str, value: Any) -> None:
    """Give ``module`` a finite number that sweeps and stacks: a 0-dim buffer, not in the checkpoint."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        shown = type(value).__name__ if isinstance(value, nn.Module) else value
        raise ValueError(f"{name} must be a finite number, got {shown}")
    module.register_buffer(name, torch.tensor(float(value)), persistent=False)


class ConstantSchedule(nn.Module):
    """The same value at every step."""

    value: Tensor

    def __init__(self, value: float) -> None:
        super().__init__()
        number(self, "value", value)

    def forward(self, step: int | Tensor) -> Tensor:
        return self.value


class Schedule(nn.Module):
    """A value that changes in time. A new one implements :meth:`at`.

    ``reading`` is logged as ``train/<where it stands>``: ``train/kl_weight`` for the weight of ``kl``.

    Args:
        unit: what times are counted in: ``share`` of the whole training, or ``steps``.
    """

    # ()  optimizer steps; NaN, and so is the value, while the length of the training is not known
    steps_per_unit: Tensor

    def __init__(self, unit: str = "share") -> None:
        super().__init__()
        if unit not in ("share", "steps"):
            raise ValueError(f"unit must be share or steps, got {unit}")
        self.unit = unit
        steps = torch.tensor(math.nan if unit == "share" else 1.0)
        self.register_buffer("steps_per_unit", steps, persistent=False)

    def at(self, time: Tensor) -> Tensor:
        """The value at a time >= 0, (): times in the schedule's unit."""
        raise NotImplementedError

    def forward(self, step: int | Tensor) -> Tensor:
        return self.at(step / self.steps_per_unit)

    reading = forward


class Ramp(Schedule):
    """start + (stop - start) shape(p) between two times, constant before and after.

    p in [0, 1] is the share of the way from ``begin`` to ``end``; ``end`` is the end of the training unless
    said, and has to be said in steps. A new one implements :meth:`shape` with shape(0) = 0, shape(1) = 1.
    """

    start: Tensor
    stop: Tensor
    begin: Tensor
    end: Tensor

    def __init__(
        self,
        stop: float,
        start: float = 0.0,
        begin: float = 0.0,
        end: float | None = None,
        unit: str = "share",
    ) -> None:
        super().__init__(unit)
        end = last_time(end, unit)
        for name, value in {"start": start, "stop": stop, "begin": begin, "end": end}.items():
            number(self, name, value)
        if not 0 <= begin < end:
            raise ValueError(f"0 <= begin < end must hold, got begin {begin:g} and end {end:g}")

    def shape(self, p: Tensor) -> Tensor:
        raise NotImplementedError

    def progress(self, time: Tensor) -> Tensor:
        """p."""
        return ((time - self.begin) / (self.end - self.begin)).clamp(0, 1)

    def at(self, time: Tensor) -> Tensor:
        return self.start + (self.stop - self.start) * self.shape(self.progress(time))


class LinearSchedule(Ramp):
    """shape(p) = p: warm-up as in Sønderby et al. (2016)."""

    def shape(self, p: Tensor) -> Tensor:
        return p


class CosineSchedule(Ramp):
    """shape(p) = (1 - cos(pi p)) / 2."""

    def shape(self, p: Tensor) -> Tensor:
        return 0.5 * (1 - torch.cos(math.pi * p))


class SigmoidSchedule(Ramp):
    """shape(p) = (s(p) - s(0)) / (s(1) - s(0)), s(p) = sigmoid(k (p - 1/2)), as in Bowman et al. (2016).

    Args:
        sharpness: k > 0; the ends are reached exactly at any k.
    """

    sharpness: Tensor

    def __init__(
        self,
        stop: float,
        start: float = 0.0,
        begin: float = 0.0,
        end: float | None = None,
        unit: str = "share",
        sharpness: float = 12.0,
    ) -> None:
        super().__init__(stop, start, begin, end, unit)
        number(self, "sharpness", sharpness)
        if sharpness <= 0:
            raise ValueError(f"sharpness must be > 0, got {sharpness:g}")

    def shape(self, p: Tensor) -> Tensor:
        # s(p) - 1/2 = tanh(k (p - 1/2) / 2) / 2
        return 0.5 + 0.5 * torch.tanh(0.5 * self.sharpness * (p - 0.5)) / torch.tanh(0.25 * self.sharpness)


class ExponentialSchedule(Ramp):
    """start (stop / start)^p: the same factor in every step. Both ends lie above 0."""

    def __init__(
        self, stop: float, start: float, begin: float = 0.0, end: float | None = None, unit: str = "share"
    ) -> None:
        super().__init__(stop, start, begin, end, unit)
        if start <= 0 or stop <= 0:
            raise ValueError(f"start and stop must be > 0, got {start:g} and {stop:g}")

    def at(self, time: Tensor) -> Tensor:
        return self.start * (self.stop / self.start) ** self.progress(time)


class CyclicSchedule(Schedule):
    """Cyclical annealing (Fu et al., 2019): in each of M cycles up, then constant; t counts from 0.

    tau = mod(t, T/M) / (T/M);  value = start + (stop - start) min(tau / ramp, 1)

    After the M-th cycle the value stays at ``stop``.

    Args:
        cycles: M, a whole number.
        ramp: R, the share of a cycle in which the value rises; the paper has M = 4, R = 0.5.
        end: T, when the last cycle ends: the end of the training unless said.
    """

    start: Tensor
    stop: Tensor
    cycles: Tensor
    ramp: Tensor
    end: Tensor

    def __init__(
        self,
        stop: float,
        start: float = 0.0,
        cycles: int = 4,
        ramp: float = 0.5,
        end: float | None = None,
        unit: str = "share",
    ) -> None:
        super().__init__(unit)
        end = last_time(end, unit)
        values = {"start": start, "stop": stop, "cycles": cycles, "ramp": ramp, "end": end}
        for name, value in values.items():
            number(self, name, value)
        if cycles < 1 or cycles != int(cycles):
            raise ValueError(f"cycles must be a whole number >= 1, got {cycles:g}")
        if not 0 < ramp <= 1:
            raise ValueError(f"ramp must lie above 0 and not above 1, got {ramp:g}")
        if end <= 0:
            raise ValueError(f"end must be > 0, got {end:g}")

    def at(self, time: Tensor) -> Tensor:
        # in cycles; a step that begins a cycle must not be rounded into the one before
        t = time * self.cycles / self.end
        begun = (t + 1e-6 * (1 + t)).floor().clamp(max=self.cycles - 1)
        tau = (t - begun).clamp(min=0)
        return self.start + (self.stop - self.start) * (tau / self.ramp).clamp(max=1)


class PiecewiseSchedule(Schedule):
    """Straight lines through the points (``times``, ``values``), constant before the first, after the last.

    Two points at the same time are a jump: from that time on the later one holds.
    """

    times: Tensor  # (P,)
    values: Tensor  # (P,)

    def __init__(self, times: Sequence[float], values: Sequence[float], unit: str = "share") -> None:
        super().__init__(unit)
        if len(times) != len(values) or not times:
            raise ValueError(f"times and values must be as many, got {len(times)} and {len(values)}")
        if not all(isinstance(v, int | float) and math.isfinite(v) for v in (*times, *values)):
            raise ValueError("times and values must be finite numbers")
        if list(times) != sorted(times):
            raise ValueError(f"times must not decrease, got {list(times)}")
        self.register_buffer("times", torch.tensor(times, dtype=torch.float32), persistent=False)
        self.register_buffer("values", torch.tensor(values, dtype=torch.float32), persistent=False)

    def at(self, time: Tensor) -> Tensor:
        # each piece adds its own rise, as far as it has been passed
        length = self.times[1:] - self.times[:-1]
        jumps = length == 0
        passed = (time - self.times[:-1]) / torch.where(jumps, torch.ones_like(length), length)
        passed = torch.where(jumps, (passed >= 0).to(passed), passed.clamp(0, 1))
        # NaN, the value before the length of the training is known, is kept by the sum
        return self.values[0] + (passed * (self.values[1:] - self.values[:-1])).sum() + 0 * time


def last_time(end: float | None, unit: str) -> float:
    """The whole training, if times are shares of it."""
    if end is None and unit == "steps":
        raise ValueError("end is missing: with unit steps it must be a number of steps")
    return 1.0 if end is None else end


def as_schedule(value: float | nn.Module) -> nn.Module:
    """A plain number becomes a :class:`ConstantSchedule`; a schedule stays what it is."""
    return value if isinstance(value, nn.Module) else ConstantSchedule(value)


def set_total_steps(model: nn.Module, total: float) -> None:
    """Tell every schedule in ``model`` how many optimizer steps the whole training has.

    Raises:
        UserError: there are schedules in shares of a training that has no end.
    """
    for name, schedule in model.named_modules():
        if isinstance(schedule, Schedule) and schedule.unit == "share":
            if not math.isfinite(total):
                raise UserError(
                    f"The schedule {short_name(name)} counts in shares of the training, which has no end: "
                    "set trainer.max_epochs or trainer.max_steps, or let it count in steps (unit: steps)."
                )
            schedule.steps_per_unit.fill_(max(total, 1.0))


def readings(model: nn.Module, step: int | Tensor) -> dict[str, Tensor]:
    """What the parts of ``model`` have to show at this step: schedules and multipliers by their short names.

    Any module may have a ``reading``: step -> (), a number that is logged as ``train/<name>``.
    """
    return {
        short_name(name): module.reading(step).detach()
        for name, module in model.named_modules()
        if hasattr(module, "reading")
    }


def short_name(path: str) -> str:
    """``objective.terms.kl.weight`` -> ``kl_weight``."""
    return path.removeprefix("objective.terms.").replace(".", "_")
