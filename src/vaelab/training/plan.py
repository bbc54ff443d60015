"""Where to sweep beta, from the training images alone: the reference curve of a linear model, and a grid.

With a Gaussian likelihood of fixed sigma it is exact for a linear encoder and decoder. Another likelihood is
replaced by its tangent at the best constant output theta. For pixels x and a decoder's output theta + d

    -log p(x|theta + d) = -log p(x|theta) - s d + J d^2 / 2 + O(d^3),
    s = d log p(x|theta) / d theta,    J = -d^2 log p(x|theta) / d theta^2,

which is, with t = s / sqrt(J) and u = sqrt(J) d, -log p(x|theta) - t^2/2 + (t - u)^2 / 2: a Gaussian of sigma
1 on the images t. So the thresholds are the eigenvalues of the covariance of t: of the images over sigma for
a Gaussian, of (x - m) / sqrt(m (1 - m)) for a Bernoulli, whose J is the variance of the logit link at the
mean image m. For binary pixels that is their correlation matrix. Where the images vary little around their
mean this is close for every beta. The largest threshold, above which a collapsed posterior is stable, is
exact for any images and any smooth network, since d is small where the first dimension comes to life.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from vaelab.data import DataModule
from vaelab.data.augment import cropped
from vaelab.errors import UserError
from vaelab.functional.randomness import generator
from vaelab.functional.reference_curve import ReferenceCurve, beta_grid, suggested_latent_dim
from vaelab.models.likelihoods import Gaussian, Likelihood
from vaelab.training.assembly import build, build_data, map_shape, memory_of_data, run_context

__all__ = ["Plan", "make_plan", "thresholds"]

IMAGES = 10_000  # a random subset: its eigenvalues have a standard error of about 1.4%
CHUNK = 512  # images whose scores are computed at once
LARGE = 2048  # pixels from which the subset has as few images, so that the eigenvalues take seconds


@dataclass(frozen=True)
class Plan:
    """A reference curve and the betas that cover it."""

    curve: ReferenceCurve
    images: int  # training images whose spectrum it is
    pixels: int
    suggested_latent_dim: int
    exact: bool  # for a linear network

    @property
    def betas(self) -> list[float]:
        """The grid for the curve's ``latent_dim`` (:func:`~vaelab.functional.reference_curve.beta_grid`)."""
        return beta_grid(self.curve.thresholds, self.curve.latent_dim)

    def plain(self) -> dict[str, Any]:
        """As plain types, for plan.json (:mod:`vaelab.runs.plans`)."""
        betas = sorted({*self.betas, *map(float, self.curve.betas())})
        points = [self.curve.at(beta) for beta in betas]
        return {
            "betas": self.betas,
            "latent_dim": self.curve.latent_dim,
            "suggested_latent_dim": self.suggested_latent_dim,
            "exact_for_linear_networks": self.exact,
            "images": self.images,
            "pixels": self.pixels,
            "constant_distortion": self.curve.constant_distortion,
            "thresholds": list(self.curve.thresholds),
            "curve": {
                "beta": betas,
                "rate": [point.rate for point in points],
                "distortion": [point.distortion for point in points],
                "active_units": [point.active_units for point in points],
            },
        }


def make_plan(cfg: DictConfig, latent_dim: int | None = None) -> Plan:
    """The plan for the data and the likelihood of a run's config.

    Args:
        latent_dim: of the models that will be trained; None for the one that the plan suggests. Of a network
            whose latents are maps the images tell it.

    Raises:
        UserError: the likelihood has no plan, the decoder is told labels, or all images are the same.
    """
    likelihood = build("likelihood", cfg.likelihood)
    if likelihood.curvature(torch.zeros(1)) is None:
        raise UserError(
            f"There is no plan for likelihood {type(likelihood).__name__}: only with a fixed scale and one "
            "parameter a pixel is it known before training at which beta a dimension dies. Use "
            "likelihood=gaussian with a likelihood.sigma, bernoulli or continuous_bernoulli."
        )
    with memory_of_data(cfg):
        data = build_data(cfg)
        check_condition(cfg, data)
        low, high = data.value_range
        try:
            likelihood.check(low, high, levels=data.levels)
        except ValueError as error:
            raise UserError(f"likelihood: {error}.") from error
        found, constant, images = thresholds(likelihood, data)
    if not found[0] > 0:
        raise UserError("There is no plan for these data: all training images are the same.")
    suggested = suggested_latent_dim(found)
    shape = map_shape(cfg, data.image_shape)
    curve = ReferenceCurve(tuple(found), constant, math.prod(shape) if shape else latent_dim or suggested)
    return Plan(curve, images, math.prod(data.image_shape), suggested, exact=isinstance(likelihood, Gaussian))


def check_condition(cfg: DictConfig, data: DataModule) -> None:
    """Refuse a decoder that is told more than z; one that is told beta is not."""
    node = cfg.model.get("condition")
    if node is not None and build("model.condition", node, run_context(cfg, data)).features:
        raise UserError(
            "There is no plan for this model.condition: the spectrum of the images does not tell what is "
            "left of it when the label is known."
        )


def thresholds(likelihood: Likelihood, data: DataModule) -> tuple[list[float], float, int]:
    """The eigenvalues of the covariance of t (see above) from the largest, D_0, and the number of images.

    They are those of a fixed random subset of the training images, divided by its size. Images that are moved
    at random in the training are moved by one fixed draw; of those that are mirrored, both are taken.
    """
    count = IMAGES if math.prod(data.image_shape) <= LARGE else LARGE
    flip, crop = data.augmentation
    x = torch.cat([batch.x for batch in data.training_sample(count // 2 if flip else count)])
    images = len(x)
    if crop:
        x = cropped(x, crop, generator(0, "plan/crop"))
    if flip:
        x = torch.cat([x, x.flip(-1)])
    with torch.no_grad():
        _, theta = likelihood.constant([x])
        curvature = likelihood.curvature(theta[0])
        assert curvature is not None
        # a pixel that never changes has no curvature: nothing is to be gained by it
        scale = torch.where(curvature > 0, curvature, torch.inf).rsqrt()
    rows, distortions = [], []
    for part in x.split(CHUNK):
        score, distortion = score_and_distortion(likelihood, part.double(), theta)
        rows.append((score * scale).flatten(1).float())
        distortions.append(distortion)
    return spectrum(torch.cat(rows)), torch.cat(distortions).mean().item(), images


def score_and_distortion(likelihood: Likelihood, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """d log p(x|theta) / d theta (B, C, H, W) and -log p(x|theta) (B,).

    Of images x (B, C, H, W) and a constant output theta (1, C, H, W).
    """
    output = theta.expand_as(x).clone().requires_grad_()
    log_prob = likelihood.log_prob(x, output[None])[0]
    (score,) = torch.autograd.grad(log_prob.sum(), output)
    return score, -log_prob.detach()


def spectrum(t: Tensor) -> list[float]:
    """The eigenvalues of the covariance of the rows t (N, P), divided by N, from the largest.

    As many as the smaller of N and P; the others are 0.
    """
    centred = t - t.mean(0)
    product = centred.T @ centred if len(t) > t.shape[1] else centred @ centred.T
    values = torch.linalg.eigvalsh(product.double() / len(t)).flip(0).clamp(min=0)
    return [float(value) for value in values]
