"""What the module needs to measure held-out images, beside its metrics."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from vaelab.metrics.rate_distortion import ImageRates, RateDistortion
from vaelab.models.autoencoder import Autoencoder
from vaelab.types import Batch, Output

__all__ = ["fields", "posteriors", "values_and_rates"]


def fields(model: Autoencoder, batch: Batch, images: Tensor, output: Output) -> dict[str, Any]:
    """What metrics get of a held-out batch: each names those that it reads in its ``update``.

    ``images`` (B, C, H, W) are those of the batch in floats.
    """
    return {
        **output.stats.for_metrics(),
        "x": batch.x,
        "reconstruction": model.likelihood.mean(output.decoded),
        "discrete": model.likelihood.discrete(batch.x),
        "y": batch.y,
        "factors": batch.factors,
        "position": batch.position,
        "distortion_of": partial(distortion_of, model, batch, images),
        "objective": model.objective.per_image(output.stats),
        "sample_prior": partial(sample_prior, model),
        "components": model.posterior.components,
    }


def distortion_of(model: Autoencoder, batch: Batch, images: Tensor, z: Tensor, rows: Tensor) -> Tensor:
    """-log p(x|z) of the batch's images at ``rows`` (M,) for any z (M, D), (M,)."""
    y = None if batch.y is None else batch.y[rows]
    return -model.log_likelihood(images[rows], z[None], y)[0]


@torch.no_grad()
def sample_prior(model: Autoencoder, noise: Tensor) -> Tensor:
    """Standard normal noise (N, D) -> samples of the prior (N, D), on the model's device."""
    return model.prior_density().sample(noise.to(model.device, model.dtype))


def values_and_rates(metrics: MetricCollection) -> tuple[dict[str, Tensor], ImageRates | None]:
    """The values of the metrics, on the CPU; rate and distortion of each image, where they are measured."""
    values = {name: value.detach().float().cpu() for name, value in metrics.compute().items()}
    # torchmetrics squeezes a vector with one element: restore its dimension
    vectors = ("_per_dim", "_per_channel")
    values = {n: value.reshape(-1) if n.endswith(vectors) else value for n, value in values.items()}
    rates = [metric.rates for metric in metrics.values() if isinstance(metric, RateDistortion)]
    return values, rates[0] if rates else None


@torch.no_grad()
def posteriors(model: Autoencoder, batches: Iterable[Batch], device: torch.device) -> Any:
    """q(z|x) of all images of the batches, on the device."""
    parts = [
        model.encode(batch.x.to(device), None if batch.y is None else batch.y.to(device)) for batch in batches
    ]
    return type(parts[0])._make(map(torch.cat, zip(*parts, strict=True)))
