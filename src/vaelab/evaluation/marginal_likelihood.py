"""log p(x) of a trained model: the importance bound, and annealed importance sampling between two bounds.

Each number is per image and in nats; averages are for the caller, so that standard errors can be given. Noise
belongs to the image's position, the sample and the seed: the numbers do not depend on how the work is cut,
but for the rounding of sums. The model must be in evaluation mode. A conditional model's log p(x) is
log p(x|y), and the labels y (N,) are needed. Images may lie on another device than the model.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.errors import UserError
from vaelab.functional.annealed_importance import (
    NoiseAt,
    Path,
    adapted_step_sizes,
    anneal,
    linear_temperatures,
    sigmoid_temperatures,
)
from vaelab.functional.estimators import importance_bound
from vaelab.functional.randomness import normal_rows
from vaelab.models.autoencoder import Autoencoder

CHUNK = 2**20  # numbers in the decoded images of one pass: 4 MB of float32, about what a cache holds

Progress = Callable[[Iterable[int], str], Iterable[int]]  # items and a label -> the same items, with a bar


def silent(items: Iterable[int], label: str) -> Iterable[int]:
    """No progress bar."""
    return items


class Part(NamedTuple):
    """Consecutive images, on the model's device and in its precision."""

    first: int  # their positions: from first to last, which is left out
    last: int
    x: Tensor  # (B, C, H, W)
    y: Tensor | None  # (B,)

    def noise(self, samples: Iterable[int], width: int, seed: int, stream: str, *counters: int) -> Tensor:
        """Standard normal (S, B, width), that of each image and of the samples with these numbers."""
        rows = [normal_rows(self.first, self.last, width, seed, stream, *counters, k) for k in samples]
        return torch.stack(rows).to(self.x)


def part_of(model: Autoencoder, x: Tensor, y: Tensor | None, first: int, batch: int) -> Part:
    """At most ``batch`` images from position ``first``."""
    if model.training:
        raise ValueError("the model is in training mode, where it may be another: call model.eval()")
    like = next(model.parameters())
    last = min(first + batch, len(x))
    return Part(first, last, x[first:last].to(like), None if y is None else y[first:last].to(like.device))


def refuse(reason: str | None) -> None:
    """A UserError with the reason, if there is one."""
    if reason is not None:
        raise UserError(f"{reason[0].upper()}{reason[1:]}.")


def at_least(least: int, name: str, value: int) -> None:
    """A UserError that names the setting if it is no whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name} must be a whole number >= {least}, got {value}.")


# the importance bound


class ImportanceEstimate(NamedTuple):
    """Of N images, each (N,), float64."""

    bound: Tensor  # log 1/K sum_k w_k
    elbo: Tensor  # 1/K sum_k log w_k of the same samples: never above ``bound``
    effective: Tensor  # (sum w)^2 / sum w^2, from 1 to K: on how many samples the bound rests (Kong, 1992)


def why_no_importance_bound(model: Autoencoder) -> str | None:
    """Why it is undefined for this model, if it is."""
    if model.posterior.deterministic:
        return "the posterior is deterministic: it has no density to weight samples with"
    return None


@torch.no_grad()
def importance_estimate(
    model: Autoencoder,
    x: Tensor,
    y: Tensor | None = None,
    samples: int = 5000,
    batch: int = 64,
    chunk: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> ImportanceEstimate:
    """The importance bound of images x (N, C, H, W) with w_k = p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x).

    Burda, Grosse & Salakhutdinov (2016), who take K = 5000 ``samples`` to stand for log p(x). In
    expectation it is a lower bound, and close where many samples are effective.

    Args:
        batch: images at once.
        chunk: samples of each at once; None for as many as keep the decoded images near CHUNK numbers.

    Raises:
        UserError: the posterior has no density.
    """
    refuse(why_no_importance_bound(model))
    chunk = chunk or max(1, CHUNK // (batch * math.prod(x.shape[1:])))
    prior, posterior = model.prior_density(), model.posterior
    found = []
    for first in progress(range(0, len(x), batch), "importance bound"):
        part = part_of(model, x, y, first, batch)
        q = model.posterior_parameters(part.x, part.y)
        log_w = torch.empty(samples, len(part.x), dtype=torch.float64)
        for start in range(0, samples, chunk):
            rows = range(start, min(start + chunk, samples))
            z = posterior.sample(q, part.noise(rows, model.latent_dim, seed, "importance bound"))
            weights = model.log_likelihood(part.x, z, part.y) + prior.log_prob(z) - posterior.log_prob(q, z)
            log_w[rows.start : rows.stop] = weights.cpu()
        effective = (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp()
        found.append(ImportanceEstimate(importance_bound(log_w), log_w.mean(0), effective))
    return ImportanceEstimate._make(map(torch.cat, zip(*found, strict=True)))


# annealed importance sampling


@dataclass(frozen=True)
class Annealing:
    """How to anneal.

    Args:
        chains: M, weighted chains for each image.
        steps: T, temperatures after the first.
        schedule: "sigmoid", dense at both ends, or "linear".
        start: where the path begins, at temperature 0.
            "prior": p(z) p(x|z)^b (Wu et al., 2017), which asks nothing of q(z|x);
            "posterior": q(z|x)^(1-b) p(x, z)^b, shorter where q is good; where q misses a part of p(z|x),
            the chains have to find it.
        leapfrog_steps: of each HMC transition.
        pilot_chains: further chains for each image, which set its step sizes and are not weighted.
    """

    chains: int = 16
    steps: int = 500
    schedule: str = "sigmoid"
    start: str = "prior"
    leapfrog_steps: int = 5
    pilot_chains: int = 4

    def __post_init__(self) -> None:
        for name in ("chains", "steps", "leapfrog_steps", "pilot_chains"):
            at_least(1, name, getattr(self, name))
        for name, known in (("schedule", ("sigmoid", "linear")), ("start", ("prior", "posterior"))):
            if getattr(self, name) not in known:
                raise UserError(f"{name} must be {' or '.join(known)}, got {getattr(self, name)}.")

    @property
    def temperatures(self) -> list[float]:
        """b_0 = 0, ..., b_T = 1."""
        return (linear_temperatures if self.schedule == "linear" else sigmoid_temperatures)(self.steps)


class AnnealedEstimate(NamedTuple):
    """Of N images, each (N,), float64."""

    lower: Tensor  # of log p(x), in expectation
    upper: Tensor  # of log p(x), in expectation; NaN where no exact posterior sample is given
    acceptance: Tensor  # the share of HMC proposals that the weighted chains accept


def why_no_annealing(model: Autoencoder, start: str = "prior") -> str | None:
    """Why it is undefined for this model, if it is.

    A deterministic posterior is no hindrance: p(z) and p(x|z) are all that log p(x) needs.
    """
    if model.prior.discrete:
        return "the prior is over codes: there is no gradient for Hamiltonian Monte Carlo to follow"
    if model.posterior.deterministic and (start == "posterior" or model.prior.encodes):
        return "the posterior is deterministic: it has no density to anneal from"
    return None


def annealed_estimate(
    model: Autoencoder,
    x: Tensor,
    y: Tensor | None = None,
    annealing: Annealing | None = None,
    exact: Tensor | None = None,
    batch: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> AnnealedEstimate:
    """Bounds of log p(x) for images x (N, C, H, W) by annealing: see :mod:`vaelab.functional.annealed_importance`.

    The lower one needs nothing more. The upper one needs ``exact`` (N, D), a sample of p(z|x) for each image,
    which only :func:`simulate` has; all reverse chains of an image start there. Both directions have the same
    transitions, with step sizes from the same pilot chains.

    Args:
        batch: images at once; None for as many as keep the decoded images near CHUNK numbers.

    Raises:
        UserError: prior or posterior do not fit (:func:`why_no_annealing`).
    """
    annealing = annealing or Annealing()
    refuse(why_no_annealing(model, annealing.start))
    batch = batch or max(1, CHUNK // (annealing.chains * math.prod(x.shape[1:])))
    found = []
    for first in range(0, len(x), batch):
        part = part_of(model, x, y, first, batch)
        given = None if exact is None else exact[part.first : part.last].to(part.x)
        found.append(_annealed(model, part, annealing, given, seed, progress))
    return AnnealedEstimate._make(map(torch.cat, zip(*found, strict=True)))


def _annealed(
    model: Autoencoder,
    part: Part,
    annealing: Annealing,
    exact: Tensor | None,
    seed: int,
    progress: Progress,
) -> AnnealedEstimate:
    """:func:`annealed_estimate` for one batch."""
    path, sample = _path(model, part, annealing.start)
    d, leaps, temperatures = model.latent_dim, annealing.leapfrog_steps, annealing.temperatures
    pilots, chains = range(annealing.pilot_chains), range(annealing.chains)

    def beginning(rows: range, stream: str) -> Tensor:
        return sample(part.noise(rows, d, seed, f"annealing/{stream}/start"))

    def transitions(rows: range, stream: str) -> NoiseAt:
        return lambda t: part.noise(rows, d + 2, seed, f"annealing/{stream}", t)

    def bar(label: str) -> Callable[[Iterable[int]], Iterable[int]]:
        return lambda items: progress(items, f"annealing: {label}")

    step_sizes = adapted_step_sizes(
        path,
        beginning(pilots, "pilot"),
        temperatures,
        transitions(pilots, "pilot"),
        leaps,
        progress=bar("step sizes"),
    )
    up = anneal(
        path,
        beginning(chains, "up"),
        temperatures,
        step_sizes,
        transitions(chains, "up"),
        leaps,
        progress=bar("from below"),
    )
    lower = importance_bound(up.log_w)
    acceptance = up.acceptance.mean(0).double()
    if exact is None:
        return AnnealedEstimate(lower, torch.full_like(lower, torch.nan), acceptance)
    down = anneal(
        path,
        exact.expand(len(chains), -1, -1),
        temperatures[::-1],
        step_sizes.flip(0),
        transitions(chains, "down"),
        leaps,
        progress=bar("from above"),
    )
    return AnnealedEstimate(lower, -importance_bound(down.log_w), acceptance)


@torch.no_grad()
def _path(model: Autoencoder, part: Part, start: str) -> tuple[Path, Callable[[Tensor], Tensor]]:
    """The path of densities, and how noise (M, B, D) becomes samples of its beginning."""
    prior, posterior = model.prior_density(), model.posterior

    def log_likelihood(z: Tensor) -> Tensor:
        return model.log_likelihood(part.x, z, part.y)

    if start == "prior":

        @torch.no_grad()
        def from_prior(noise: Tensor) -> Tensor:
            return prior.sample(noise.flatten(0, -2)).reshape(noise.shape)

        return Path(prior.log_prob, log_likelihood), from_prior

    q = model.posterior_parameters(part.x, part.y)

    def log_q(z: Tensor) -> Tensor:
        return posterior.log_prob(q, z)

    def log_weight(z: Tensor) -> Tensor:
        return prior.log_prob(z) + log_likelihood(z) - log_q(z)

    return Path(log_q, log_weight), partial(posterior.sample, q)


class Simulated(NamedTuple):
    """Images of the model's own, and the latents that they were made from."""

    x: Tensor  # (N, C, H, W)
    z: Tensor  # (N, D)  given x it is an exact sample of p(z|x)
    y: Tensor | None  # (N,)


@torch.no_grad()
def simulate(
    model: Autoencoder, number: int, image_shape: tuple[int, ...], y: Tensor | None = None, seed: int = 0
) -> Simulated:
    """z ~ p(z), x ~ p(x|z), not the mean image: (z, x) is a sample of the joint, so z is one of p(z|x).

    That is what makes bidirectional Monte Carlo possible (Grosse et al., 2015). A conditional model takes the
    labels y, again from the first if they are fewer than ``number``; without y its own in turn.
    """
    like = next(model.parameters())
    if y is None:
        labels = model.condition.in_turn(number, like.device)
    else:
        labels = y.to(like.device)[torch.arange(number, device=like.device) % len(y)]
    noise = normal_rows(0, number, model.latent_dim, seed, "simulated z").to(like)
    z = model.prior_density().sample(noise)
    pixels = normal_rows(0, number, math.prod(image_shape), seed, "simulated x").to(like)
    decoded = model.likelihood_parameters(z, labels)
    return Simulated(model.likelihood.sample(decoded, pixels.reshape(number, *image_shape)), z, labels)
