"""Codes of a set of images: what pictures of the latent space and densities are made from."""

from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.autoencoder import Autoencoder
from vaelab.data.images import ImageSet, to_float
from vaelab.randomness import generator

CHUNK = 512  # images encoded at once


class Codes(NamedTuple):
    """Codes of N images, on the CPU."""

    loc: Tensor  # (N, D)  posterior means
    scale: Tensor  # (N, D)  posterior standard deviations; 0 where q is deterministic
    z: Tensor  # (N, D)  one sample of q(z|x) each: together they are samples of the aggregate posterior
    y: Tensor | None = None  # (N,)  class labels
    factors: Tensor | None = None  # (N, F)  ground-truth factors


@torch.no_grad()
def codes_of(model: Autoencoder, images: ImageSet, limit: int | None = None) -> Codes:
    """The codes of the first ``limit`` images (None: of all), with noise that belongs to the place alone.

    Images whose code is not finite are left out.
    """
    device = model.device
    n = len(images) if limit is None else min(limit, len(images))
    parts = []
    for start in range(0, n, CHUNK):
        batch = images.batch(torch.arange(start, min(start + CHUNK, n)))
        y = None if batch.y is None else batch.y.to(device)
        q = model.encode(to_float(batch.x.to(device)), y)
        noise = torch.randn((1, *q.loc.shape), generator=generator(0, "codes", start))
        parts.append((q.loc, q.scale, model.posterior.sample(q, noise.to(device))[0]))
    loc, scale, z = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
    keep = (loc.isfinite() & z.isfinite()).all(-1).nonzero().squeeze(-1)
    y, factors = images.y, images.factors
    return Codes(
        loc[keep],
        scale[keep],
        z[keep],
        None if y is None else y[:n][keep],
        None if factors is None else factors[:n][keep],
    )
