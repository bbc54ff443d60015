"""Numbers that may change during training: step -> value.

Any number of a term may be a schedule. In YAML a node with a ``_target_`` stands in its place::

    model.beta: {_target_: vaelab.models.RampSchedule, stop: 4.0, end: 0.5}   # 0 to 4 in half the training

A step is an optimizer step. The first is taken with the value at step 0, the last of T with that at T - 1.
Times are shares of the whole training, or steps (``unit: steps``). A schedule is a pure function of the step:
it has no state to resume. Its numbers are 0-dim buffers, so that runs which differ only in them stack
(:func:`torch.func.stack_module_state`). They are not part of the checkpoint: the config holds them.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from vaelab.models.numbers import register_number

__all__ = [
    "ConstantSchedule",
    "CyclicSchedule",
    "PiecewiseSchedule",
    "RampSchedule",
    "Schedule",
    "ends_too_late",
    "last_steps",
]


class ConstantSchedule(nn.Module):
    """The same value at every step: what a plain number becomes."""

    value: Tensor

    def __init__(self, value: float) -> None:
        super().__init__()
        register_number(self, "value", value)

    def forward(self, step: int | Tensor) -> Tensor:
        return self.value


class Schedule(nn.Module):
    """A value that changes in time. A new one implements :meth:`at`, which has a limit at an infinite time.

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

    def last_time(self) -> float | None:
        """The time from which the value is constant; None if there is none."""
        return None

    def forward(self, step: int | Tensor) -> Tensor:
        return self.at(step / self.steps_per_unit)

    reading = forward


def _tanh_shape(p: Tensor, sharpness: Tensor) -> Tensor:
    # s(p) - 1/2 = tanh(k (p - 1/2) / 2) / 2
    return 0.5 + 0.5 * torch.tanh(0.5 * sharpness * (p - 0.5)) / torch.tanh(0.25 * sharpness)


# p in [0, 1] -> the share of the way from start to stop; each maps 0 to 0 and 1 to 1
SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": lambda p, sharpness: p,
    "cosine": lambda p, sharpness: 0.5 * (1 - torch.cos(math.pi * p)),
    "sigmoid": _tanh_shape,
}


class RampSchedule(Schedule):
    """From ``start`` to ``stop`` between two times, constant before and after.

    With p in [0, 1] the share of the way from ``begin`` to ``end``:

    - ``linear``: start + (stop - start) p, as in "Ladder Variational Autoencoders" (Sønderby et al., 2016,
      arXiv:1602.02282);
    - ``cosine``: p replaced by (1 - cos(pi p)) / 2;
    - ``sigmoid``: p replaced by (s(p) - s(0)) / (s(1) - s(0)), s(p) = sigmoid(sharpness (p - 1/2)), as in
      "Generating Sentences from a Continuous Space" (Bowman et al., 2016, arXiv:1511.06349);
    - ``exponential``: start (stop / start)^p, the same factor in every step; both must be > 0.

    Args:
        begin, end: times; ``end`` is the end of the training by default, and required with ``unit="steps"``.
        sharpness: > 0, of the sigmoid; both ends are reached exactly at any sharpness.

    Raises:
        ValueError: an unknown shape, times out of order, or numbers that the shape excludes.
    """

    start: Tensor
    stop: Tensor
    begin: Tensor
    end: Tensor
    sharpness: Tensor

    def __init__(
        self,
        stop: float,
        start: float = 0.0,
        begin: float = 0.0,
        end: float | None = None,
        unit: str = "share",
        shape: str = "linear",
        sharpness: float = 12.0,
    ) -> None:
        super().__init__(unit)
        end = end_of(end, unit)
        positive = {"above": 0} if shape == "exponential" else {}
        register_number(self, "start", start, **positive)
        register_number(self, "stop", stop, **positive)
        register_number(self, "begin", begin, least=0, below=end)
        register_number(self, "end", end)
        register_number(self, "sharpness", sharpness, above=0)
        if shape not in (*SHAPES, "exponential"):
            raise ValueError(f"shape must be one of {', '.join(SHAPES)}, exponential, got {shape}")
        self.shape = shape

    def last_time(self) -> float:
        return float(self.end)

    def at(self, time: Tensor) -> Tensor:
        p = ((time - self.begin) / (self.end - self.begin)).clamp(0, 1)
        if self.shape == "exponential":
            return self.start * (self.stop / self.start) ** p
        return self.start + (self.stop - self.start) * SHAPES[self.shape](p, self.sharpness)


class CyclicSchedule(Schedule):
    """Cyclical annealing: in each of M cycles up, then constant; t counts from 0.

    "Cyclical Annealing Schedule" (Fu et al., 2019, arXiv:1903.10145).

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
        end = end_of(end, unit)
        register_number(self, "start", start)
        register_number(self, "stop", stop)
        register_number(self, "cycles", cycles, least=1)
        register_number(self, "ramp", ramp, above=0, most=1)
        register_number(self, "end", end, above=0)
        if cycles != int(cycles):
            raise ValueError(f"cycles must be a whole number, got {cycles:g}")

    def last_time(self) -> float:
        return float(self.end)

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
            raise ValueError(
                f"times and values must have the same length, got {len(times)} and {len(values)}"
            )
        if not all(isinstance(v, int | float) and math.isfinite(v) for v in (*times, *values)):
            raise ValueError("times and values must be finite numbers")
        if list(times) != sorted(times):
            raise ValueError(f"times must not decrease, got {list(times)}")
        self.register_buffer("times", torch.tensor(times, dtype=torch.float32), persistent=False)
        self.register_buffer("values", torch.tensor(values, dtype=torch.float32), persistent=False)

    def last_time(self) -> float:
        return float(self.times[-1])

    def at(self, time: Tensor) -> Tensor:
        # each piece adds its own rise, as far as it has been passed
        length = self.times[1:] - self.times[:-1]
        jumps = length == 0
        passed = (time - self.times[:-1]) / torch.where(jumps, torch.ones_like(length), length)
        passed = torch.where(jumps, (passed >= 0).to(passed), passed.clamp(0, 1))
        value = self.values[0] + (passed * (self.values[1:] - self.values[:-1])).sum()
        return torch.where(time.isnan(), time, value)  # NaN while the length of the training is not known


def end_of(end: float | None, unit: str) -> float:
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
        ValueError: there are schedules in shares of a training that has no end.
    """
    for name, schedule in model.named_modules():
        if isinstance(schedule, Schedule) and schedule.unit == "share":
            if not math.isfinite(total):
                raise ValueError(
                    f"The schedule {short_name(name)} counts in shares of the training, which has no end: "
                    "set trainer.max_epochs or trainer.max_steps, or let it count in steps (unit: steps)."
                )
            schedule.steps_per_unit.fill_(max(total, 1.0))


def last_steps(model: nn.Module) -> dict[str, float]:
    """The step from which each schedule is constant, by short names; infinite for one without such a step."""
    found = {}
    for name, schedule in model.named_modules():
        if isinstance(schedule, Schedule):
            time = schedule.last_time()
            found[short_name(name)] = math.inf if time is None else time * float(schedule.steps_per_unit)
    return found


def ends_too_late(ends: Mapping[str, float], total: float) -> dict[str, float]:
    """Those of the :func:`last_steps` that a training of ``total`` steps does not reach."""
    late = total + 0.5  # shares are rounded
    return {name: step for name, step in ends.items() if late < step < math.inf}


def readings(model: nn.Module, step: int | Tensor) -> dict[str, Tensor]:
    """The numbers that the parts of ``model`` report at this step: schedules and multipliers, by short names.

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
