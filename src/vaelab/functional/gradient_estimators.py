"""Two estimators of the gradient of E_q[f(z)] in the parameters of q, and how much each varies.

q = N(mu, sigma^2), diagonal; f any function of z. Both are unbiased:

- reparametrised: z = mu + sigma eps, so that grad f(z) reaches mu and log sigma. It needs the derivative of
  f. "Auto-Encoding Variational Bayes" (Kingma & Welling, 2014), https://arxiv.org/abs/1312.6114
- score function: f(z) grad log q(z). It needs no derivative, so that z may be discrete, but a draw gives one
  number, f(z). "Simple statistical gradient-following algorithms for connectionist reinforcement learning"
  (Williams, 1992: REINFORCE). A baseline, the mean of f at the other draws, removes the part of f that is the
  same for all: "Buy 4 REINFORCE Samples, Get a Baseline for Free!" (Kool et al., 2019).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Comparison",
    "Gradient",
    "compare_estimators",
    "reparametrised_gradient",
    "score_function_gradient",
]

Function = Callable[[Tensor], Tensor]


class Gradient(NamedTuple):
    """Estimates of d E_q[f(z)] / d(mu, log sigma), one for each draw of z."""

    loc: Tensor  # (S, B, D)
    log_scale: Tensor  # (S, B, D)


class Comparison(NamedTuple):
    """The variances of two estimators of the same gradient from the same draws; each (B,)."""

    reparametrised: Tensor  # the variance of an estimate, summed over the 2 D parameters
    score: Tensor
    score_baseline: Tensor
    difference: Tensor  # mean square of (mean with baseline - mean reparametrised) / its standard error


def reparametrised_gradient(f: Function, loc: Tensor, scale: Tensor, noise: Tensor) -> Gradient:
    """grad f(z) and grad f(z) sigma eps, at z = mu + sigma eps.

    ``f``: z (S, B, D) -> (S, B), row by row and differentiable; loc and scale (B, D); noise (S, B, D).
    """
    with torch.enable_grad():
        z = (loc + scale * noise).detach().requires_grad_()
        (slope,) = torch.autograd.grad(f(z).sum(), z)
    return Gradient(slope, slope * scale * noise)


def score_function_gradient(
    f: Function, loc: Tensor, scale: Tensor, noise: Tensor, baseline: bool = False
) -> Gradient:
    """(f(z) - b) eps / sigma and (f(z) - b) (eps^2 - 1), at z = mu + sigma eps; shapes as above.

    ``baseline``: b is the mean of f at the other S - 1 draws of the same image, else 0. S >= 2 then.
    """
    with torch.no_grad():
        value = f(loc + scale * noise)[..., None]
        if baseline:
            number = len(value)
            if number < 2:
                raise ValueError("a baseline of the other draws needs at least 2 draws")
            value = (value - value.mean(0)) * number / (number - 1)  # f_s minus the mean of the others
        return Gradient(value * noise / scale, value * (noise.square() - 1))


def compare_estimators(
    f: Function, loc: Tensor, scale: Tensor, noise: Tensor, samples: int = 8
) -> Comparison:
    """The variances of both estimators over repetitions, from the same draws.

    One estimate is the mean over ``samples`` draws, and noise (R * samples, B, D) holds R of them. The
    variance is unbiased (divided by R - 1) and summed over the parameters mu_d and log sigma_d of an image.

    Raises:
        ValueError: fewer than 2 samples or 2 repetitions, or draws that don't fill whole repetitions.
    """
    if samples < 2 or len(noise) % samples or len(noise) < 2 * samples:
        raise ValueError(
            f"{len(noise)} draws must fill two or more estimates of {samples} (at least 2) draws each"
        )
    repetitions: dict[str, list[Tensor]] = {"reparametrised": [], "score": [], "score_baseline": []}
    for draws in noise.split(samples):
        for name, gradient in (
            ("reparametrised", reparametrised_gradient(f, loc, scale, draws)),
            ("score", score_function_gradient(f, loc, scale, draws)),
            ("score_baseline", score_function_gradient(f, loc, scale, draws, baseline=True)),
        ):
            repetitions[name].append(torch.cat(gradient, dim=-1).mean(0))
    estimates = {name: torch.stack(parts) for name, parts in repetitions.items()}  # each (R, B, 2 D)
    gap = estimates["score_baseline"] - estimates["reparametrised"]
    error = gap.var(0) / len(gap)
    return Comparison(
        **{name: value.var(0).sum(-1) for name, value in estimates.items()},
        difference=(gap.mean(0).square() / error).mean(-1),
    )
