"""Codes of a set of images: what pictures of the latent space, densities and evaluations are made from."""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from vaelab.functional.images import to_float
from vaelab.functional.randomness import normal_rows
from vaelab.models.autoencoder import Autoencoder
from vaelab.types import Batch

BATCH = 512  # images encoded at once


class LabelledImages(Protocol):
    """Images and what is known of them; a :class:`vaelab.data.ImageSet` is one."""

    @property
    def y(self) -> Tensor | None:
        """(N,) class labels."""

    @property
    def factors(self) -> Tensor | None:
        """(N, F) ground-truth factors."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor) -> Batch:
        """The images at the positions ``index`` (B,), as they are stored."""


class Codes(NamedTuple):
    """The posteriors of N images, on the CPU."""

    loc: Tensor  # (N, D)  posterior means
    scale: Tensor  # (N, D)  posterior standard deviations; 0 where q is deterministic
    z: Tensor  # (N, D)  one sample of q(z|x) each: together they are samples of the aggregate posterior
    y: Tensor | None = None  # (N,)  class labels
    factors: Tensor | None = None  # (N, F)  ground-truth factors
    q: Any = None  # all parameters of q(z|x), as the posterior gives them (posteriors.py)

    @property
    def marginal_scale(self) -> Tensor | None:
        """The standard deviation of each q(z_d|x), (N, D); None of a hierarchy: ``scale`` is of one path."""
        return None if hasattr(self.q, "features") else self.scale

    @property
    def spread(self) -> Tensor:
        """The standard deviation of the aggregate posterior in each dimension, (D,).

        sqrt(Var_x(mu_d) + E_x[sigma_d^2]); of a hierarchy that of the samples z.
        """
        if self.marginal_scale is None:
            return self.z.std(0, correction=0)
        return (self.loc.var(0, correction=0) + self.marginal_scale.square().mean(0)).sqrt()


@torch.no_grad()
def encoded(
    model: Autoencoder, images: LabelledImages, limit: int | None = None, stream: str = "codes"
) -> Codes:
    """The codes of the first ``limit`` images (None: all); noise belongs to the stream and the place."""
    device = model.device
    n = len(images) if limit is None else min(limit, len(images))
    noise = normal_rows(0, n, model.latent_dim, 0, stream)  # not of the run's seed: every run has the same
    posteriors, samples = [], []
    for index in torch.arange(n).split(BATCH):
        batch = images.batch(index)
        q = model.encode(to_float(batch.x.to(device)), None if batch.y is None else batch.y.to(device))
        posteriors.append([part.cpu() for part in q])
        samples.append(model.posterior.sample(q, noise[None, index].to(q.loc))[0].cpu())
    q = type(q)._make(map(torch.cat, zip(*posteriors, strict=True)))
    y, factors = (None if values is None else values[:n] for values in (images.y, images.factors))
    return Codes(q.loc, q.scale, torch.cat(samples), y, factors, q)


def codes_of(model: Autoencoder, images: LabelledImages, limit: int | None = None) -> Codes:
    """The same, without the images whose code is not finite: what can be drawn."""
    codes = encoded(model, images, limit)
    keep = (codes.loc.isfinite() & codes.z.isfinite()).all(-1)
    y, factors = (None if values is None else values[keep] for values in (codes.y, codes.factors))
    q = type(codes.q)._make(part[keep] for part in codes.q)
    return Codes(codes.loc[keep], codes.scale[keep], codes.z[keep], y, factors, q)
