"""Image tensors decoded by a model: samples, reconstructions, traversals, interpolations, arithmetic.

Unless stated otherwise, images are (rows, columns, C, H, W), as in :func:`vaelab.figures.grids.image_grid`.
They depend only on the model and the given images, so that pictures of two runs compare their models.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vaelab.figures.attributes import attributes, groups
from vaelab.functional.interpolation import path
from vaelab.functional.mixtures import GaussianMixture
from vaelab.functional.randomness import generator
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import BATCH, Codes

__all__ = [
    "Arithmetic",
    "Exploration",
    "Traversals",
    "arithmetic",
    "exploration",
    "interpolations",
    "latent_ranges",
    "layers",
    "manifold",
    "mixture_images",
    "prior_samples",
    "reconstructions",
    "traversals",
    "use_of_dimensions",
]

DRAWS = 2**14  # samples of the aggregate posterior from which a range is estimated
QUANTILES = (0.01, 0.99)
DECODED = 64  # images at once, since decoders of large images need much memory
MOST_NUMBERS = 520_000  # in the images of an exploration: its PNG file has no more bytes


def prior_samples(model: Autoencoder, rows: int = 8, columns: int = 8) -> Tensor:
    """Mean images of z ~ p(z), with the same noise for every model of the same latent dimension."""
    return model.sample(rows * columns).unflatten(0, (rows, columns))


@torch.no_grad()
def mixture_images(model: Autoencoder, mixture: GaussianMixture, n: int, seed: int = 0) -> Tensor:
    """Mean images of z from a mixture fitted to codes, (n, C, H, W); a conditional model gets labels in turn.

    Where codes come from a codebook, each z is replaced by its nearest code.
    """
    z, y = mixture.sample(n, seed), model.condition.in_turn(n)
    posterior: Any = model.posterior
    images = []
    for index in torch.arange(n).split(BATCH):
        codes = z[index].to(model.device)
        if "codes" in posterior.provides:
            codes = posterior.vectors(posterior.nearest(codes.to(model.dtype)))
        images.append(model.decode(codes, None if y is None else y[index].to(model.device)))
    return torch.cat(images)


def reconstructions(model: Autoencoder, x: Tensor, y: Tensor | None = None) -> Tensor:
    """Images x (N, C, H, W), 8 in a row, with their reconstructions below; incomplete rows are left out."""
    pairs = torch.stack([x, model.reconstruct(x, y)])  # (2, N, C, H, W)
    columns = min(8, len(x))
    pairs = pairs[:, : len(x) // columns * columns]
    return pairs.unflatten(1, (-1, columns)).transpose(0, 1).flatten(0, 1)


def layers(model: Autoencoder, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, list[str]]:
    """What each group of a hierarchy adds: images x (N, C, H, W) -> (1 + 2 G, N, C, H, W), and row labels.

    The images; reconstructions from the posterior means of the first group alone, of the first two, ... of
    all G, with the groups below at 0, the mean of their prior; and N samples z ~ p(z) likewise.
    """
    sizes = model.posterior.groups
    drawn = torch.randn(len(x), model.latent_dim, generator=generator(0, "layers")).to(x)
    kept = torch.tensor([sum(sizes[: place + 1]) for place in range(len(sizes))], device=x.device)
    mask = (torch.arange(model.latent_dim, device=x.device) < kept[:, None])[:, None]  # (G, 1, D)
    reconstructed = model.decode(model.encode(x, y).loc * mask, y)
    sampled = model.decode(drawn * mask, model.condition.in_turn(len(x), x.device))
    names = [f"group{'s 0 to' if place else ''} {place}" for place in range(len(sizes))]
    labels = [
        "original",
        *(f"{name}:\nreconstruction" for name in names),
        *(f"{name}:\nsample" for name in names),
    ]
    return torch.cat([x[None], reconstructed, sampled]), labels


# traversals


def use_of_dimensions(model: Autoencoder, q: Any) -> tuple[Tensor, str]:
    """How much each latent dimension is used: its mean KL in nats, or Var(mu) if the KL is undefined.

    Returns (D,), and which of the two it is: "KL" or "variance".
    """
    kl = model.kl_per_dimension(q).mean(0)
    return (q.loc.var(0, correction=0), "variance") if kl.isnan().any() else (kl, "KL")


@torch.no_grad()
def latent_ranges(
    model: Autoencoder, q: Any, dimensions: Tensor, quantiles: tuple[float, float] = QUANTILES
) -> Tensor:
    """Quantiles of z_d under the aggregate posterior 1/N sum_n q(z|x_n): dimensions (K,) -> (2, K).

    They are estimated from at least DRAWS samples with the same noise for every model; the 1 % quantile of a
    normal z_d has a standard error of 0.03 of its deviation. Codes that are not finite are left out.
    """
    repeats = max(1, DRAWS // len(q.loc))
    noise = torch.randn((repeats, *q.loc.shape), generator=generator(0, "traversals"))
    z = model.posterior.sample(q, noise.to(q.loc.device))[..., dimensions].flatten(0, 1)
    z = z.where(z.isfinite(), torch.nan)
    return z.nanquantile(torch.tensor(quantiles).to(z), dim=0)


class Traversals(NamedTuple):
    """Images along the most used latent dimensions."""

    images: Tensor  # (K, N, steps, C, H, W)  from the codes of N images
    dimensions: Tensor  # (K,)  the dimension that moves in each row, the most used first
    names: list[str]  # of these
    use: Tensor  # (K,)  how much each is used
    measure: str  # what ``use`` is: "KL" in nats, or "variance" of the posterior means
    ends: Tensor  # (2, K)  the first and the last value of each


def traversals(
    model: Autoencoder,
    x: Tensor,
    steps: int = 9,
    dimensions: int = 10,
    quantiles: tuple[float, float] = QUANTILES,
    y: Tensor | None = None,
    starts: int = 1,
) -> Traversals:
    """Vary each of the most used dimensions, with the others fixed at an image's posterior mean.

    This is done for the first ``starts`` images; a conditional model uses the image's label. The varied
    dimension goes from one quantile of the aggregate posterior q(z_d) to the other, estimated on x
    (:func:`latent_ranges`), so that the decoder gets codes like those in training, whatever their scale and
    distribution.
    """
    q = model.encode(x, y)
    use, measure = use_of_dimensions(model, q)
    chosen = use.argsort(descending=True)[:dimensions]
    low, high = latent_ranges(model, q, chosen, quantiles)
    z = q.loc[None, :starts, None].repeat(len(chosen), 1, steps, 1)
    share = torch.linspace(0, 1, steps).to(z)
    for row, d in enumerate(chosen):
        z[row, :, :, d] = torch.lerp(low[row], high[row], share)
    images = model.decode(z, None if y is None else y[:starts, None])
    names = [dimension_name(d, model.latent_shape) for d in chosen.tolist()]
    return Traversals(images, chosen, names, use[chosen], measure, torch.stack([low, high]))


def dimension_name(d: int, latent_shape: Sequence[int]) -> str:
    """What a number of z is called: of a map by its channel, row and column. All count from 0.

    >>> dimension_name(173, (4, 7, 7)), dimension_name(3, (10,))
    ('channel 3 at 3,5', 'dim 3')
    """
    if len(latent_shape) == 1:
        return f"dim {d}"
    channel, row, column = np.unravel_index(d, latent_shape)
    return f"channel {channel} at {row},{column}"


class Exploration(NamedTuple):
    """Images on a grid over the most used latent dimensions, with the others at their means."""

    images: Tensor  # (steps, ..., steps, C, H, W)  an axis for each of K dimensions
    dimensions: Tensor  # (K,)  the most used first
    names: list[str]  # of these
    use: Tensor  # (K,)  how much each is used
    measure: str  # what ``use`` is: "KL" in nats, or "variance" of the posterior means
    values: Tensor  # (K, steps)  z along each axis
    label: int | None  # which a conditional model is given: that of the first image


@torch.no_grad()
def exploration(
    model: Autoencoder,
    x: Tensor,
    y: Tensor | None = None,
    dimensions: int = 3,
    steps: tuple[int, int] = (7, 5),
) -> Exploration | None:
    """Decode every combination of some values of each of the most used dimensions.

    The values go from the 1% to the 99% quantile of q(z_d), and the other dimensions are at the mean of q(z),
    all estimated on x as for :func:`traversals`. Where the first number of ``steps`` would make more than
    MOST_NUMBERS numbers, the second is taken; where that would, images are averaged over squares of pixels.
    None if no code is finite, or if codes come from a codebook: there no number of a code moves by itself.
    """
    if "codes" in model.posterior.provides:
        return None
    q = model.encode(x, y)
    finite = q.loc.isfinite().all(-1)
    if not finite.any():
        return None
    q = type(q)._make(part[finite] for part in q)
    use, measure = use_of_dimensions(model, q)
    chosen = use.argsort(descending=True)[:dimensions]
    low, high = latent_ranges(model, q, chosen)[..., None]
    fits = steps[0] ** len(chosen) * x[0].numel() <= MOST_NUMBERS
    values = torch.lerp(low, high, torch.linspace(0, 1, steps[0] if fits else steps[1]).to(low))
    grid = torch.stack(torch.meshgrid(*values, indexing="ij"), dim=-1)
    z = q.loc.mean(0).repeat(*grid.shape[:-1], 1)
    z[..., chosen] = grid.to(z)
    is_conditional = y is not None and model.condition.in_turn(1) is not None
    label = y[0] if is_conditional and y is not None else None
    decoded = torch.cat([
        averaged(model.decode(part, label), grid[..., 0].numel())
        for part in z.flatten(0, -2).split(DECODED)
    ])  # fmt: skip
    images = decoded.unflatten(0, grid.shape[:-1])
    names = [dimension_name(d, model.latent_shape) for d in chosen.tolist()]
    given = None if label is None else int(label)
    return Exploration(images, chosen, names, use[chosen], measure, values, given)


def averaged(images: Tensor, number: int) -> Tensor:
    """Images (..., C, H, W), smaller by a whole factor if ``number`` of them have more than MOST_NUMBERS."""
    factor = math.ceil(math.sqrt(number * images[0].numel() / MOST_NUMBERS))
    return avg_pool2d(images, factor, ceil_mode=True) if factor > 1 else images


def manifold(model: Autoencoder, codes: Codes, side: int = 20, y: Tensor | None = None) -> Tensor:
    """Images over a grid of z in a two-dimensional latent space, (side, side, C, H, W).

    z_0 grows to the right and z_1 upwards, in steps of equal probability: quantiles (i + 1/2) / side of the
    prior ("Auto-Encoding Variational Bayes", Kingma & Welling, 2014, figure 4). If the prior is not
    N(0, I), or the posterior is deterministic, the quantiles are those of the codes. y (): a
    conditional model's label.
    """
    share = (torch.arange(side) + 0.5) / side
    if "kl per dimension" in model.prior.provides and "density" in model.posterior.provides:
        axes = torch.special.ndtri(share.double()).float().expand(2, -1)
    else:
        axes = codes.z.quantile(share.to(codes.z), dim=0).T
    right, up = axes[0].expand(side, -1), axes[1].flip(0)[:, None].expand(-1, side)
    return model.decode(torch.stack([right, up], dim=-1).to(model.device), y)


# between images


def interpolations(
    model: Autoencoder,
    x: Tensor,
    steps: int = 9,
    rows: int = 6,
    y: Tensor | None = None,
    spherical: bool = False,
) -> Tensor:
    """Images along lines between the posterior means of the pairs (x_2i, x_2i+1), a row per pair.

    Lines are straight or great circles (:func:`vaelab.functional.interpolation.slerp`). A conditional model
    decodes a row with the label of x_2i. A single image gives no row.
    """
    n = 2 * min(rows, len(x) // 2)
    if not n:
        return x.new_empty(0, steps, *x.shape[1:])
    loc = model.encode(x[:n], None if y is None else y[:n]).loc
    labels = None if y is None else y[0:n:2, None]
    return model.decode(path(loc[0::2], loc[1::2], steps, spherical), labels)


class Arithmetic(NamedTuple):
    """Images along the steps from class to class."""

    images: Tensor  # (rows, steps, C, H, W)
    attribute: str  # the name of the attribute whose classes they are
    moves: list[str]  # of each row: "3 to 4"


def arithmetic(
    model: Autoencoder, codes: Codes, factor_names: Sequence[str] = (), steps: int = 7, rows: int = 10
) -> Arithmetic | None:
    """From an image of class a towards class b: z + t (mean code of b - mean code of a), t from 0 to 1.

    A row for each class a, from the code of its first image, towards the next class, from the last to the
    first. The classes are those of the first attribute of ``codes`` with at least two (labels, then factors,
    by :func:`~vaelab.figures.attributes.groups`); None if there is no such attribute. A conditional model
    keeps the image's label.
    """
    for attribute in attributes(codes.y, codes.factors, factor_names):
        names, index = groups(attribute)
        members = {name: (index == k).nonzero().squeeze(-1) for k, name in enumerate(names)}
        members = {name: images for name, images in members.items() if len(images)}
        if len(members) < 2:
            continue
        kept = list(members)
        moves = list(zip(kept, [*kept[1:], kept[0]], strict=True))[:rows]
        mean = {name: codes.loc[images].mean(0) for name, images in members.items()}
        first = torch.stack([members[a][0] for a, _ in moves])
        step = torch.stack([mean[b] - mean[a] for a, b in moves])
        z = codes.loc[first][:, None] + torch.linspace(0, 1, steps)[:, None] * step[:, None]
        y = None if codes.y is None else codes.y[first][:, None].to(model.device)
        images = model.decode(z.to(model.device), y)
        return Arithmetic(images, attribute.name, [f"{a} to {b}" for a, b in moves])
    return None
