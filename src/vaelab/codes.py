"""Codes of a set of images, and what is known of those images: what the latent space is looked at by."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.autoencoder import Autoencoder
from vaelab.data.images import ImageSet, to_float
from vaelab.randomness import generator

CHUNK = 512  # images encoded at once
MOST_CLASSES = 20  # an attribute of more values is a quantity, not a class


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
    device = next(model.parameters()).device
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


class Attribute(NamedTuple):
    """What is known of each image: its class or a quantity."""

    name: str
    values: Tensor  # (N,)

    @property
    def classes(self) -> Tensor | None:
        """The distinct values in ascending order, (K,), if they are few; None for a quantity."""
        found = self.values.unique()
        return found if len(found) <= MOST_CLASSES else None


def attributes(codes: Codes, factor_names: Sequence[str] = ()) -> list[Attribute]:
    """The label, then the factors that differ between the images.

    A label that is one of the factors, image by image, goes by that factor's name.
    """
    columns = [] if codes.factors is None else list(codes.factors.T)
    names = [*factor_names, *(f"factor {i}" for i in range(len(factor_names), len(columns)))]
    factors = [Attribute(*pair) for pair in zip(names, columns, strict=False) if len(pair[1].unique()) > 1]
    if codes.y is None or any(torch.equal(codes.y, factor.values) for factor in factors):
        return factors
    return [Attribute("label", codes.y), *factors]


def text(value: Tensor) -> str:
    """A class's value as one writes it: 3, 0.25."""
    return f"{value.item():.3g}" if value.is_floating_point() else str(value.item())


class Groups(NamedTuple):
    """Images put together by an attribute."""

    names: list[str]  # K
    index: Tensor  # (N,)  each image's group; -1 for none


def groups(attribute: Attribute) -> Groups:
    """A group for each class; of a quantity the lower and the upper third, the middle in none."""
    values, classes = attribute.values, attribute.classes
    if classes is not None:
        return Groups([text(value) for value in classes], torch.searchsorted(classes, values))
    low, high = values.double().quantile(torch.tensor([1 / 3, 2 / 3], dtype=torch.double))
    index = torch.full_like(values, -1, dtype=torch.long)
    index[values <= low] = 0
    index[values >= high] = 1
    return Groups(["low", "high"], index)
