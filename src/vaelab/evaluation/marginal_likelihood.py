"""log p(x) of a trained model: the importance bound, and annealed importance sampling between two bounds.

All numbers are per image and in nats; the caller averages and computes standard errors. Noise depends only on
the image's position, the sample and the seed, so that up to the rounding of sums the numbers do not depend on
the sizes of batches and chunks. The model must be in evaluation mode. For a conditional model,
log p(x) means log p(x|y) and needs the labels y (N,). Images may lie on another device than the model.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.evaluation.trained_run import NotApplicable, require
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

__all__ = [
    "AnnealedEstimate",
    "Annealing",
    "ImportanceEstimate",
    "annealed_estimate",
    "importance_estimate",
    "simulate",
]

CHUNK = 2**20  # numbers in the decoded images of one pass: 4 MB of float32, about the size of a CPU cache
SCHEDULES = {"sigmoid": sigmoid_temperatures, "linear": linear_temperatures}

Progress = Callable[[Iterable[int], str], Iterable[int]]  # items and a label -> the same items, with a bar


def silent(items: Iterable[int], label: str) -> Iterable[int]:
    """No progress bar."""
    return items


class ImageBatch(NamedTuple):
    """Consecutive images on the model's device and in its precision."""

    first: int  # position of the first image
    x: Tensor  # (B, C, H, W)
    y: Tensor | None  # (B,)

    def noise(self, samples: Iterable[int], width: int, seed: int, stream: str, *counters: int) -> Tensor:
        """Standard normal (S, B, width) for each image and each of the numbered samples."""
        last = self.first + len(self.x)
        rows = [normal_rows(self.first, last, width, seed, stream, *counters, k) for k in samples]
        return torch.stack(rows).to(self.x)


def batches(model: Autoencoder, x: Tensor, y: Tensor | None, size: int) -> list[ImageBatch]:
    """The images in batches of at most ``size``. Raises ValueError for a model in training mode."""
    if model.training:
        raise ValueError("the model is in training mode, where it may differ: call model.eval()")
    like = next(model.parameters())
    labels = [None] * -(-len(x) // size) if y is None else [part.to(like.device) for part in y.split(size)]
    return [
        ImageBatch(i * size, part.to(like), label)
        for i, (part, label) in enumerate(zip(x.split(size), labels, strict=True))
    ]


# the importance bound


class ImportanceEstimate(NamedTuple):
    """Estimates of N images, each (N,), float64."""

    bound: Tensor  # log 1/K sum_k w_k
    elbo: Tensor  # 1/K sum_k log w_k of the same samples: never above ``bound``
    effective: Tensor  # (sum w)^2 / sum w^2, from 1 to K: on how many samples the bound rests (Kong, 1992)


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

    Its expectation is a lower bound of log p(x), close to it where many samples are effective. Burda, Grosse
    & Salakhutdinov (2016, "Importance Weighted Autoencoders", arXiv:1509.00519) report K = 5000.

    Args:
        samples: K.
        batch: images per pass.
        chunk: samples of each image per pass; None for decoded images of about CHUNK numbers.

    Raises:
        NotApplicable: the posterior has no density.
        ValueError: the model is in training mode.
    """
    if "density" not in model.posterior.provides:
        raise NotApplicable("the posterior is deterministic: it has no density to weight samples with")
    chunk = chunk or max(1, CHUNK // (batch * math.prod(x.shape[1:])))
    prior, posterior = model.prior_density(), model.posterior
    estimates = []
    parts = batches(model, x, y, batch)
    for i in progress(range(len(parts)), "importance bound"):
        part = parts[i]
        q = model.posterior_parameters(part.x, part.y)
        log_w = torch.empty(samples, len(part.x), dtype=torch.float64)
        for rows in torch.arange(samples).split(chunk):
            z = posterior.sample(q, part.noise(rows.tolist(), model.latent_dim, seed, "importance bound"))
            weights = model.log_likelihood(part.x, z, part.y) + prior.log_prob(z) - posterior.log_prob(q, z)
            log_w[rows] = weights.cpu().double()
        effective = (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp()
        estimates.append(ImportanceEstimate(importance_bound(log_w), log_w.mean(0), effective))
    return ImportanceEstimate._make(map(torch.cat, zip(*estimates, strict=True)))


# annealed importance sampling


@dataclass(frozen=True)
class Annealing:
    """Settings of annealed importance sampling.

    Args:
        chains: M, weighted chains for each image.
        steps: T, temperatures after the first.
        schedule: "sigmoid", dense at both ends, or "linear".
        start: the distribution at temperature b = 0.
            "prior": the path is p(z) p(x|z)^b (Wu et al., 2017), which does not depend on q(z|x);
            "posterior": the path is q(z|x)^(1-b) p(x, z)^b, which is shorter if q is close to p(z|x); where q
            misses a part of p(z|x), the chains have to find it.
        leapfrog_steps: of each HMC transition.
        pilot_chains: additional chains per image, which adapt its step sizes and are not weighted.

    Raises:
        ValueError: a number is below 1, or the schedule or the start is unknown.
    """

    chains: int = 16
    steps: int = 500
    schedule: str = "sigmoid"
    start: str = "prior"
    leapfrog_steps: int = 5
    pilot_chains: int = 4

    def __post_init__(self) -> None:
        require(
            1,
            chains=self.chains,
            steps=self.steps,
            leapfrog_steps=self.leapfrog_steps,
            pilot_chains=self.pilot_chains,
        )
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be sigmoid or linear, got {self.schedule}")
        if self.start not in ("prior", "posterior"):
            raise ValueError(f"start must be prior or posterior, got {self.start}")

    @property
    def temperatures(self) -> list[float]:
        """b_0 = 0, ..., b_T = 1."""
        return SCHEDULES[self.schedule](self.steps)


class AnnealedEstimate(NamedTuple):
    """Estimates of N images, each (N,), float64."""

    lower: Tensor  # of log p(x), in expectation
    upper: Tensor  # of log p(x), in expectation; NaN where no exact posterior sample is given
    acceptance: Tensor  # the share of HMC proposals that the weighted chains accept


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
    """Bounds of log p(x) for images x (N, C, H, W) by :mod:`vaelab.functional.annealed_importance`.

    The upper bound needs ``exact`` (N, D), a sample of p(z|x) for each image, which only :func:`simulate`
    gives; all reverse chains of an image start there. Both directions use the same transitions, with step
    sizes from the same pilot chains. A deterministic posterior is allowed with start="prior", where p(z) and
    p(x|z) are all that log p(x) needs.

    Args:
        batch: images per pass; None for decoded images of about CHUNK numbers.

    Raises:
        NotApplicable: the prior is over codes, or there is no density to anneal from.
        ValueError: the model is in training mode.
    """
    annealing = annealing or Annealing()
    if "codes" in model.prior.needs:
        raise NotApplicable("the prior is over codes: there is no gradient for Hamiltonian Monte Carlo")
    encodes = annealing.start == "posterior" or "encoder without labels" in model.prior.needs
    if "density" not in model.posterior.provides and encodes:
        raise NotApplicable("the posterior is deterministic: it has no density to anneal from")
    batch = batch or max(1, CHUNK // (annealing.chains * math.prod(x.shape[1:])))
    estimates = []
    for part in batches(model, x, y, batch):
        start = None if exact is None else exact[part.first : part.first + len(part.x)].to(part.x)
        estimates.append(_annealed(model, part, annealing, start, seed, progress))
    return AnnealedEstimate._make(map(torch.cat, zip(*estimates, strict=True)))


def _annealed(
    model: Autoencoder,
    part: ImageBatch,
    annealing: Annealing,
    exact: Tensor | None,
    seed: int,
    progress: Progress,
) -> AnnealedEstimate:
    """:func:`annealed_estimate` for one batch."""
    path, sample = _path(model, part, annealing.start)
    d, leaps, temperatures = model.latent_dim, annealing.leapfrog_steps, annealing.temperatures
    pilots, chains = range(annealing.pilot_chains), range(annealing.chains)

    def first_points(rows: range, stream: str) -> Tensor:
        return sample(part.noise(rows, d, seed, f"annealing/{stream}/start"))

    def transitions(rows: range, stream: str) -> NoiseAt:
        return lambda t: part.noise(rows, d + 2, seed, f"annealing/{stream}", t)

    def bar(label: str) -> Callable[[Iterable[int]], Iterable[int]]:
        return lambda items: progress(items, f"annealing: {label}")

    noise = transitions(pilots, "pilot")
    start = first_points(pilots, "pilot")
    step_sizes = adapted_step_sizes(path, start, temperatures, noise, leaps, progress=bar("step sizes"))
    start, noise = first_points(chains, "up"), transitions(chains, "up")
    up = anneal(path, start, temperatures, step_sizes, noise, leaps, progress=bar("from below"))
    lower, acceptance = importance_bound(up.log_w), up.acceptance.mean(0).double()
    if exact is None:
        return AnnealedEstimate(lower, torch.full_like(lower, torch.nan), acceptance)
    start, noise = exact.expand(len(chains), -1, -1), transitions(chains, "down")
    down = anneal(
        path, start, temperatures[::-1], step_sizes.flip(0), noise, leaps, progress=bar("from above")
    )
    return AnnealedEstimate(lower, -importance_bound(down.log_w), acceptance)


@torch.no_grad()
def _path(model: Autoencoder, part: ImageBatch, start: str) -> tuple[Path, Callable[[Tensor], Tensor]]:
    """The path of densities, and the function from noise (M, B, D) to samples of its first density."""
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
    """Images drawn from the model, with the latents they were drawn from."""

    x: Tensor  # (N, C, H, W)
    z: Tensor  # (N, D)  given x, an exact sample of p(z|x)
    y: Tensor | None  # (N,)


@torch.no_grad()
def simulate(
    model: Autoencoder, number: int, image_shape: tuple[int, ...], y: Tensor | None = None, seed: int = 0
) -> Simulated:
    """Draw z ~ p(z) and x ~ p(x|z), pixels included, so that z is an exact sample of p(z|x).

    This makes bidirectional Monte Carlo possible (Grosse, Ghahramani & Adams, 2015, "Sandwiching the Marginal
    Likelihood Using Bidirectional Monte Carlo", arXiv:1511.02543). A conditional model uses the labels y,
    repeated from the first if they are fewer than ``number``; without y its own labels in turn.
    """
    like = next(model.parameters())
    if y is None:
        labels = model.condition.in_turn(number, like.device)
    else:
        labels = y.to(like.device)[torch.arange(number, device=like.device) % len(y)]
    noise = normal_rows(0, number, model.latent_dim, seed, "simulated z").to(like)
    z = model.prior_density().sample(noise)
    pixels = normal_rows(0, number, math.prod(image_shape), seed, "simulated x").to(like)
    parameters = model.likelihood_parameters(z, labels)
    return Simulated(model.likelihood.sample(parameters, pixels.reshape(number, *image_shape)), z, labels)
