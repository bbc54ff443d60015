"""Annealed importance sampling with Hamiltonian Monte Carlo: bounds of log Z from below and from above.

For densities f_b(z) = base(z) ratio(z)^b, computed point by point, with b from 0 to 1 and base normalised:
Z = integral of f_1. With base = p(z) and ratio = p(x|z), Z is p(x).

- "Annealed Importance Sampling" (Neal, 2001), https://arxiv.org/abs/physics/9803008
- "MCMC using Hamiltonian dynamics" (Neal, 2011), https://arxiv.org/abs/1206.1901
- "Sandwiching the marginal likelihood using bidirectional Monte Carlo" (Grosse et al., 2015),
  https://arxiv.org/abs/1511.02543
- "On the Quantitative Analysis of Decoder-Based Generative Models" (Wu et al., 2017),
  https://arxiv.org/abs/1611.04273

Shapes: M chains for each of B problems (images), D dimensions, T steps of annealing. In nats.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "TARGET",
    "Annealed",
    "Path",
    "Point",
    "adapted_step_sizes",
    "anneal",
    "evaluate",
    "hmc",
    "leapfrog",
    "linear_temperatures",
    "sigmoid_temperatures",
]

LogDensity = Callable[[Tensor], Tensor]  # z (M, B, D) -> (M, B); the chains are independent
NoiseAt = Callable[[int], Tensor]  # number of the transition -> standard normal (M, B, D + 2)
Progress = Callable[[Iterable[int]], Iterable[int]]  # the same items, with a bar

TARGET = 0.65  # acceptance at which HMC costs least (Neal, 2011, section 5.4; Wu et al., 2017)
JITTER = 0.2  # the step size varies by this share either way, so that no orbit closes (Neal, 2011)


class Path(NamedTuple):
    """log f_b(z) = log_base(z) + b log_ratio(z)."""

    log_base: LogDensity
    log_ratio: LogDensity


class Point(NamedTuple):
    """Where the chains are, with the densities and gradients that a transition at any temperature needs."""

    z: Tensor  # (M, B, D)
    base: Tensor  # (M, B)
    ratio: Tensor  # (M, B)
    base_gradient: Tensor  # (M, B, D)
    ratio_gradient: Tensor  # (M, B, D)

    def log_density(self, b: float) -> Tensor:
        """log f_b, (M, B)."""
        return self.base + b * self.ratio

    def gradient(self, b: float) -> Tensor:
        """The gradient of log f_b by z, (M, B, D)."""
        return self.base_gradient + b * self.ratio_gradient


class Annealed(NamedTuple):
    """The result of annealing."""

    log_w: Tensor  # (M, B)  float64, on the CPU
    acceptance: Tensor  # (T - 1, B)  of each transition, the mean over chains


def linear_temperatures(steps: int) -> list[float]:
    """b_t = t / T, t = 0, ..., T.

    >>> linear_temperatures(4)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    return [t / steps for t in range(steps + 1)]


def sigmoid_temperatures(steps: int, sharpness: float = 4.0) -> list[float]:
    """b_t = (s_t - s_0) / (s_T - s_0) with s_t = sigmoid(sharpness (2t/T - 1)): dense near 0 and 1."""
    raw = [1 / (1 + math.exp(-sharpness * (2 * t / steps - 1))) for t in range(steps + 1)]
    return [(value - raw[0]) / (raw[-1] - raw[0]) for value in raw]


def evaluate(path: Path, z: Tensor) -> Point:
    """The densities at z (M, B, D) and their gradients by z; none reaches other parameters."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        base, ratio = path.log_base(z), path.log_ratio(z)
        # each chain's density depends on its own z alone, so the sum's gradient is every chain's
        (base_gradient,) = torch.autograd.grad(base.sum(), z, retain_graph=True)
        (ratio_gradient,) = torch.autograd.grad(ratio.sum(), z)
    return Point(z.detach(), base.detach(), ratio.detach(), base_gradient, ratio_gradient)


def leapfrog(
    path: Path, b: float, point: Point, momentum: Tensor, step_size: Tensor, steps: int
) -> tuple[Point, Tensor]:
    """``steps`` leapfrog steps of Hamilton's equations for H = -log f_b(z) + |momentum|^2 / 2.

    Reversible (with the opposite momentum it returns to the start), volume-preserving; the error in H is of
    order ``step_size``^2. ``step_size`` broadcasts to (M, B, 1). One evaluation of the densities a step.
    """
    momentum = momentum + 0.5 * step_size * point.gradient(b)
    for i in range(steps):
        point = evaluate(path, point.z + step_size * momentum)
        share = 1.0 if i < steps - 1 else 0.5
        momentum = momentum + share * step_size * point.gradient(b)
    return point, momentum


def hmc(
    path: Path, b: float, point: Point, step_size: Tensor, noise: Tensor, leapfrog_steps: int
) -> tuple[Point, Tensor]:
    """A Metropolis-corrected transition that leaves f_b invariant, and its probability of acceptance (M, B).

    Args:
        step_size: (B,), the same for all chains of a problem; jittered by JITTER.
        noise: (M, B, D + 2) standard normal: momentum, and by its quantile the choices of acceptance and of
            jitter.
    """
    momentum, choice, jitter = noise[..., :-2], noise[..., -2], noise[..., -1]
    step = (step_size * (1 + JITTER * (2 * torch.special.ndtr(jitter) - 1)))[..., None]
    proposed, new_momentum = leapfrog(path, b, point, momentum, step, leapfrog_steps)
    kinetic = 0.5 * (new_momentum.square() - momentum.square()).sum(-1)
    log_ratio = proposed.log_density(b) - point.log_density(b) - kinetic
    # a trajectory that is not finite is rejected
    log_ratio = log_ratio.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
    accepted = torch.special.log_ndtr(choice) < log_ratio
    parts = [
        torch.where(accepted if new.ndim == accepted.ndim else accepted[..., None], new, old)
        for new, old in zip(proposed, point, strict=True)
    ]
    return Point._make(parts), log_ratio.clamp(max=0).exp()


def adapted_step_sizes(
    path: Path,
    z: Tensor,
    temperatures: list[float],
    noise: NoiseAt,
    leapfrog_steps: int = 10,
    start: float = 0.2,
    rate: float = 0.2,
    warm_up: int = 30,
    progress: Progress = iter,
) -> Tensor:
    """Step sizes (T - 1, B) for the temperatures between the first and the last, from pilot chains.

    The pilot chains z (P, B, D), samples of base, are annealed once. After each transition the logarithm of a
    problem's step size moves by ``rate`` times (mean acceptance of its chains - TARGET), first ``warm_up``
    times at the first temperature. The weighted chains must not be adapted themselves, as Wu et al. do: with
    transitions that depend on a chain's past, exp(log_w) is no longer an unbiased estimate of Z, and the
    bounds no longer hold.
    """
    point = evaluate(path, z)
    log_step = torch.full_like(point.base[0], math.log(start))
    sizes = []
    inner = temperatures[1:-1]
    schedule = inner[:1] * warm_up + inner
    for number in progress(range(len(schedule))):
        sizes.append(log_step.exp())
        point, acceptance = hmc(path, schedule[number], point, sizes[-1], noise(number), leapfrog_steps)
        log_step = log_step + rate * (acceptance.mean(0) - TARGET)
    return torch.stack(sizes[warm_up:]) if inner else z.new_empty(0, z.shape[1])


def anneal(
    path: Path,
    z: Tensor,
    temperatures: list[float],
    step_sizes: Tensor,
    noise: NoiseAt,
    leapfrog_steps: int = 10,
    progress: Progress = iter,
) -> Annealed:
    """Weights log w = sum_t (b_t - b_(t-1)) log_ratio(z_(t-1)), with z_t by :func:`hmc` at b_t from z_(t-1).

    - Upwards, temperatures 0, ..., 1 and z (M, B, D) from base: E[w] = Z, so that the mean of
      ``importance_bound(log_w)`` is a lower bound of log Z, that of any M and T (Neal, 2001).
    - Downwards, temperatures 1, ..., 0 and z from f_1 / Z, exactly: E[w] = 1 / Z, so that the mean of
      ``-importance_bound(log_w)`` is an upper bound (Grosse et al., 2015). The chains of a problem
      may share one exact sample: each is unbiased.

    Args:
        step_sizes: (T - 1, B), for ``temperatures[1:-1]`` in their order; they must not depend on these
            chains (:func:`adapted_step_sizes`).
        noise: for the transitions 0, ..., T - 2.
    """
    point = evaluate(path, z)
    log_w = torch.zeros(point.ratio.shape, dtype=torch.float64)
    acceptance = []
    last = len(temperatures) - 2
    for t in progress(range(last + 1)):
        b = temperatures[t + 1]
        log_w += (b - temperatures[t]) * point.ratio.cpu().double()
        if t < last:  # what comes after the last weight changes nothing
            point, probability = hmc(path, b, point, step_sizes[t], noise(t), leapfrog_steps)
            acceptance.append(probability.mean(0).cpu())
    return Annealed(log_w, torch.stack(acceptance) if acceptance else log_w.new_empty(0, z.shape[1]))
