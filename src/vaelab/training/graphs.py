"""What is exported of a trained run: encoder, decoder and prior as modules that map tensors to tensors.

========  ========================  ====================================================================
encoder   images, labels            mean, log_variance; tril too where dimensions are correlated. Of a
                                    deterministic posterior code, of a codebook codes and quantised
decoder   z, labels                 images: E[x|z]
prior     noise, standard normal    z ~ p(z)
========  ========================  ====================================================================

Images are in the units of the data: what ``data.scale`` did is within encoder and decoder. Labels are there
for a conditional model alone. Nothing is drawn in them: the noise is given.
"""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vaelab.data.scaling import Scaling
from vaelab.functional.randomness import generator
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.posteriors import Posterior, placed
from vaelab.training.loading import Run

__all__ = ["MEANINGS", "Graph", "graphs"]

EXAMPLES = 3  # a batch that no dimension of a model is taken for

MEANINGS = {
    "images": "in the units of the data; grey levels 0 to 255 are divided by 255",
    "labels": "the class of each image, from 0 on",
    "mean": "the mean of q(z|x)",
    "log_variance": "the log variance of each dimension under q(z|x); in a hierarchy, given the means above",
    "tril": "L, lower triangular: q(z|x) = N(mean, L L^T)",
    "code": "z, a function of x",
    "codes": "which codes the image has, by number",
    "quantised": "z, made of these codes",
    "z": "a code: a mean, a code, a quantised code or a sample of the prior",
    "noise": "independent standard normal numbers, from which z is made",
}


class Graph(NamedTuple):
    """A function to export, and an example of it that the run itself has computed."""

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]  # (N, ...)
    outputs: dict[str, Tensor]  # (N, ...)


class Encoder(nn.Module):
    """images (N, C, H, W), labels (N,) -> :func:`parameters`, (N, D) or maps (N, C', h, w)."""

    def __init__(self, model: Autoencoder, scaling: Scaling | None) -> None:
        super().__init__()
        self.model = with_parts(model, "encoder", "posterior", "condition")
        self.scaling = scaling

    def forward(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        x = images if self.scaling is None else self.scaling.apply(images)
        q = placed(self.model.posterior_parameters(x, labels), self.model.latent_shape)
        return parameters(self.model.posterior, q)


class Decoder(nn.Module):
    """z (N, D) or (N, C', h, w), labels (N,) -> images (N, C, H, W)."""

    def __init__(self, model: Autoencoder, scaling: Scaling | None) -> None:
        super().__init__()
        self.model = with_parts(model, "posterior", "decoder", "likelihood", "condition")
        self.scaling = scaling

    def forward(self, z: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        images = self.model.likelihood.mean(self.model.likelihood_parameters(z.flatten(1), labels))
        return {"images": images if self.scaling is None else self.scaling.undo(images)}


class PriorSampler(nn.Module):
    """noise (N, D) -> z (N, D) or (N, C', h, w)."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        of_encoder = {"encoder", "condition"} if "encoder without labels" in model.prior.needs else set()
        self.model = with_parts(model, "prior", "posterior", *of_encoder)

    def forward(self, noise: Tensor) -> dict[str, Tensor]:
        z = self.model.prior_density().sample(noise)
        return {"z": z.unflatten(-1, self.model.latent_shape)}


def with_parts(model: Autoencoder, *names: str) -> Autoencoder:
    """A copy of the model that has these parts alone and computes no gradients."""
    part = copy.deepcopy(model).requires_grad_(False)
    for name, _ in list(part.named_children()):
        if name not in names:
            delattr(part, name)
    return part


def parameters(posterior: Posterior, q: Any) -> dict[str, Tensor]:
    """The parameters of q(z|x) by name: what is constant, as the scale 0 of a code, is left out."""
    if "codes" in posterior.provides:
        return {"codes": q.codes, "quantised": q.loc}
    if "density" not in posterior.provides:
        return {"code": q.loc}
    correlated = {"tril": q.tril} if hasattr(q, "tril") else {}
    return {"mean": q.loc, "log_variance": q.log_var, **correlated}


def graphs(run: Run, beta: float | None = None) -> Iterator[Graph]:
    """Encoder, decoder and prior of a run, of a multi-rate one at ``beta``.

    Raises:
        UserError: ``beta`` is outside of the range of the training, or the run has a single one.
    """
    model, scaling = run.at(beta), run.scaling
    random = generator(0, "export")
    low, high = run.context.value_range
    images = low + (high - low) * torch.rand(EXAMPLES, *run.context.image_shape, generator=random)
    images = images if scaling is None else scaling.undo(images)
    z = torch.randn(EXAMPLES, *model.latent_shape, generator=random)
    noise = torch.randn(EXAMPLES, model.latent_dim, generator=random)
    y = model.condition.in_turn(EXAMPLES)
    labels = {} if y is None else {"labels": y}

    encoded = parameters(model.posterior, run.encode(images, y, beta))
    yield Graph("encoder", Encoder(model, scaling), {"images": images, **labels}, encoded)
    decoded = {"images": run.decode(z, y, beta)}
    yield Graph("decoder", Decoder(model, scaling), {"z": z, **labels}, decoded)
    with torch.no_grad():
        sampled = model.prior_density().sample(noise).unflatten(-1, model.latent_shape)
    yield Graph("prior", PriorSampler(model), {"noise": noise}, {"z": sampled})
