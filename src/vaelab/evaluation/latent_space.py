"""Metrics of latent health from more images than in training, and the cycle error of codes."""

import math
from typing import Any

import torch
from torch import Tensor

from vaelab.evaluation.trained_run import SEED, TrainedRun, mean_and_error, require
from vaelab.functional.aggregate import Gaussians
from vaelab.functional.holes import low_density_rate
from vaelab.functional.randomness import normal_rows
from vaelab.metrics import AggregatePosterior
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.divergence import log_prior
from vaelab.models.latent_codes import Codes

__all__ = ["LatentSpace"]

OPERATIONS = 5 * 10**9  # images x posteriors x dimensions: about 25 s on one core


class LatentSpace:
    """The parts of the rate, holes and the cycle error on ``images`` random test images.

    The brackets of ``mutual_information``, ``total_correlation``, ``dimension_wise_kl`` and ``aggregate_kl``,
    ``hole_rate`` and ``hole_rate_matched`` are those of every run's test
    (:class:`~vaelab.metrics.AggregatePosterior`), from more images. Further metrics:

    - ``low_density_rate``: the share of prior draws with log q(z) below the 1% quantile of fresh z ~ q(z);
    - ``cycle_error_prior``, ``cycle_error_posterior``, each with ``_se``: E |mu(E[x|z]) - z|^2 / D for
      z ~ p(z) and for z ~ q(z). Where the first is larger, the encoder takes decoded prior draws for
      other codes. A conditional model gets labels in turn.

    Raises:
        ValueError: fewer than two images.
    """

    def __init__(self, images: int = 10_000) -> None:
        require(2, images=images)
        self.images = images

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        model, codes = run.model, run.codes("test", self.images)
        prior = model.prior_density()
        noise = normal_rows(0, len(codes.z), model.latent_dim, SEED, "evaluation/prior")
        z_prior = prior.sample(noise.to(run.device)).cpu()
        q = type(codes.q)._make(part.to(run.device) for part in codes.q)
        z = codes.z.to(run.device)
        metric = AggregatePosterior(self.images, operations=OPERATIONS)
        metric.update(
            position=torch.arange(len(z)),
            z=codes.z[None],
            z_prior=z_prior,
            loc=codes.loc,
            scale=codes.scale,
            log_q=model.posterior.log_prob(q, z[None]).cpu(),
            log_p=log_prior(prior, q, z[None]).cpu(),
            kl=model.kl_per_dimension(q, z[None]).cpu(),
            q=codes.q,
            split="test",
            sample_prior=lambda noise: prior.sample(noise.to(run.device, model.dtype)).cpu(),
            training_posteriors=lambda count: run.codes("train", count).q,
            components=model.posterior.components,
        )
        values = {name: value.item() for name, value in metric.compute().items()}
        number, posteriors = values.pop("aggregate_images"), values.pop("aggregate_posteriors")
        own = posteriors_of(model, codes)
        values |= {
            "low_density_rate": low_density_rate(codes.z, z_prior, own).item(),
            **mean_and_error("cycle_error_prior", cycle_errors(run, z_prior)),
            **mean_and_error("cycle_error_posterior", cycle_errors(run, codes.z)),
        }
        return {
            "metrics": values,
            "protocol": {
                "images": int(number),
                "posteriors": None if math.isnan(posteriors) else int(posteriors),
                "split": "test",
                "aggregate_posterior": "mixtures of the posteriors of random training images, "
                "without and with that of the image itself; one sample each",
                "source": "Chen et al. 2018; Hoffman & Johnson 2016",
            },
        }


def posteriors_of(model: Autoencoder, codes: Codes) -> Gaussians:
    """q(z|x_n) of each image, as aggregate densities take them."""
    components = model.posterior.components
    if components is not None:
        return components(codes.q.features, codes.z)
    return Gaussians(codes.loc, codes.scale, getattr(codes.q, "tril", None))


def cycle_errors(run: TrainedRun, z: Tensor, batch: int = 1024) -> Tensor:
    """|mu(E[x|z]) - z|^2 / D of each z (N, D): (N,)."""
    errors = []
    for part in z.to(run.device).split(batch):
        y = run.model.condition.in_turn(len(part), run.device)
        errors.append((run.model.encode(run.model.decode(part, y), y).loc - part).square().mean(-1).cpu())
    return torch.cat(errors)
