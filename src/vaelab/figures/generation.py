"""What a model can show: samples, reconstructions, traversals, interpolations, arithmetic, as image tensors.

Every function returns images (rows, columns, C, H, W), ready for :func:`vaelab.figures.grids.image_grid`. They
depend on the model and the given images alone, so that the same picture of two runs compares the models.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vaelab.figures.attributes import Attribute, attributes, groups
from vaelab.functional.interpolation import path
from vaelab.functional.mixtures import GaussianMixture
from vaelab.functional.randomness import generator
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import BATCH, Codes

DRAWS = 2**14  # samples of the aggregate posterior that a range is taken from
QUANTILES = (0.01, 0.99)


def prior_samples(model: Autoencoder, rows: int = 8, columns: int = 8) -> Tensor:
    """Mean images of the same z ~ p(z) for every model of the same latent dimension."""
    return model.sample(rows * columns).unflatten(0, (rows, columns))


def density_samples(
    model: Autoencoder, density: GaussianMixture, rows: int = 8, columns: int = 8, seed: int = 0
) -> Tensor:
    """:func:`density_images` as a grid."""
    return density_images(model, density, rows * columns, seed).unflatten(0, (rows, columns))


@torch.no_grad()
def density_images(model: Autoencoder, density: GaussianMixture, n: int, seed: int = 0) -> Tensor:
    """Mean images of z from the ex-post density, (n, C, H, W); a conditional model's labels in turn.

    Where codes come from a codebook, the nearest code takes the place of what was drawn.
    """
    device = model.device
    images = []
    z, y = density.sample(n, seed), model.condition.in_turn(n)
    for start in range(0, n, BATCH):
        part = slice(start, start + BATCH)
        codes = z[part].to(device)
        if model.posterior.discrete:
            codes = model.posterior(codes).loc
        images.append(model.decode(codes, None if y is None else y[part].to(device)))
    return torch.cat(images)


def reconstructions(model: Autoencoder, x: Tensor, y: Tensor | None = None) -> Tensor:
    """Rows in turn: the images x (N, C, H, W), 8 a row, and below each its reconstruction."""
    pairs = torch.stack([x, model.reconstruct(x, y)])  # (2, N, C, H, W)
    columns = min(8, len(x))
    pairs = pairs[:, : len(x) // columns * columns]
    return pairs.unflatten(1, (-1, columns)).transpose(0, 1).flatten(0, 1)


# traversals


def order_by_kl(model: Autoencoder, q: Any) -> Tensor:
    """Latent dimensions from the most to the least used: by mean KL, or by Var(mu) where there is no KL."""
    kl = model.posterior.kl(q, model.prior).mean(0)
    used = q.loc.var(0, correction=0) if kl.isnan().any() else kl
    return used.argsort(descending=True)


@torch.no_grad()
def latent_ranges(
    model: Autoencoder, q: Any, dimensions: Tensor, quantiles: tuple[float, float] = QUANTILES
) -> Tensor:
    """Quantiles of z_d under the aggregate posterior 1/N sum_n q(z|x_n): dimensions (K,) -> (2, K).

    From at least DRAWS samples, the same noise for every model: what they say of the 1 % quantile of a
    normal z_d has a standard error of 0.03 of its deviation. A deterministic q has the quantiles of its
    codes. Codes that are not finite are left out.
    """
    repeats = max(1, DRAWS // len(q.loc))
    noise = torch.randn((repeats, *q.loc.shape), generator=generator(0, "traversals"))
    z = model.posterior.sample(q, noise.to(q.loc.device))[..., dimensions].flatten(0, 1)
    z = z.where(z.isfinite(), torch.nan)
    return z.nanquantile(torch.tensor(quantiles).to(z), dim=0)


class Traversal(NamedTuple):
    """What moves in a traversal."""

    dimensions: Tensor  # (K,)  the most used dimensions, most used first
    z: Tensor  # (K, N, steps, D)  from the codes of N images, dimension by dimension


def traversal(
    model: Autoencoder,
    x: Tensor,
    steps: int,
    dimensions: int,
    quantiles: tuple[float, float],
    y: Tensor | None = None,
    starts: int = 1,
) -> Traversal:
    """Each of the most used dimensions in turn moves from one quantile to the other, the others stay.

    The fixed part are the posterior means of the first ``starts`` images; ranges and order are those of
    all of x.
    """
    q = model.encode(x, y)
    chosen = order_by_kl(model, q)[:dimensions]
    low, high = latent_ranges(model, q, chosen, quantiles)
    z = q.loc[None, :starts, None].repeat(len(chosen), 1, steps, 1)
    share = torch.linspace(0, 1, steps).to(z)
    for row, d in enumerate(chosen):
        z[row, :, :, d] = torch.lerp(low[row], high[row], share)
    return Traversal(chosen, z)


def traversals(
    model: Autoencoder,
    x: Tensor,
    steps: int = 9,
    dimensions: int = 10,
    quantiles: tuple[float, float] = QUANTILES,
    y: Tensor | None = None,
) -> Tensor:
    """One row for each of the most used dimensions: that dimension moves, the others stay.

    The fixed part is the first image's posterior mean. The moving part goes from one quantile of the
    aggregate posterior q(z_d) to the other, estimated on x (:func:`latent_ranges`): so it stays where the
    decoder has been trained, whatever the scale or the shape of the codes. A conditional model keeps the
    first image's label.
    """
    z = traversal(model, x, steps, dimensions, quantiles, y).z
    return model.decode(z[:, 0], None if y is None else y[0])


def moving_traversals(
    model: Autoencoder,
    x: Tensor,
    steps: int = 9,
    dimensions: int = 10,
    columns: int = 5,
    quantiles: tuple[float, float] = QUANTILES,
    y: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`traversals` of several images as frames, forth and back: (2 steps - 2, rows, columns, C, H, W).

    A row for each dimension, whose numbers (rows,) come second; a column for each of the first images. The
    frame after the last is the first.
    """
    chosen, z = traversal(model, x, steps, dimensions, quantiles, y, starts=columns)
    there = z.movedim(2, 0)  # (steps, rows, columns, D)
    frames = torch.cat([there, there[1:-1].flip(0)])
    return model.decode(frames, None if y is None else y[:columns]), chosen


def manifold(model: Autoencoder, codes: Codes, side: int = 20, y: Tensor | None = None) -> Tensor:
    """Of a latent plane: images of a grid of z, (side, side, C, H, W); None of another dimension's.

    z_0 grows to the right and z_1 upwards, in steps of equal probability: the quantiles (i + 1/2) / side of
    the prior (Kingma & Welling, 2014, figure 4). Where the prior is no N(0, I), or has not been trained for
    (a deterministic posterior), the quantiles of the codes in their place. y (): a conditional model's label.
    """
    share = (torch.arange(side) + 0.5) / side
    if on_prior_quantiles(model):
        axes = torch.special.ndtri(share.double()).float().expand(2, -1)
    else:
        axes = codes.z.quantile(share.to(codes.z), dim=0).T
    right, up = axes[0].expand(side, -1), axes[1].flip(0)[:, None].expand(-1, side)
    z = torch.stack([right, up], dim=-1).to(model.device)
    return model.decode(z, y)


def on_prior_quantiles(model: Autoencoder) -> bool:
    """Whether :func:`manifold` lies on the prior's quantiles: N(0, I), and trained for."""
    return model.prior.factorised and not model.posterior.deterministic


# between images


def interpolations(
    model: Autoencoder,
    x: Tensor,
    steps: int = 9,
    rows: int = 6,
    y: Tensor | None = None,
    spherical: bool = False,
) -> Tensor:
    """One row for each pair (x_2i, x_2i+1): lines between their posterior means, no row for a lone image.

    Straight lines, or great circles (:func:`vaelab.functional.interpolation.slerp`). A conditional model decodes the
    whole row with the label of x_2i.
    """
    n = 2 * min(rows, len(x) // 2)
    if not n:
        return x.new_empty(0, steps, *x.shape[1:])
    loc = model.encode(x[:n], None if y is None else y[:n]).loc
    labels = None if y is None else y[0:n:2, None]
    return model.decode(path(loc[0::2], loc[1::2], steps, spherical), labels)


class Arithmetic(NamedTuple):
    images: Tensor  # (rows, steps, C, H, W)
    attribute: str  # whose classes they are
    moves: list[str]  # a row's: "3 to 4"


def arithmetic(
    model: Autoencoder, codes: Codes, factor_names: Sequence[str] = (), steps: int = 7, rows: int = 10
) -> Arithmetic | None:
    """From an image of class a towards class b: z + t (mean code of b - mean code of a), t from 0 to 1.

    A row for each class a, from the code of its first image; b is the next class, after the last the first.
    The means are of ``codes``. The classes are those of the first attribute that has more than one (the
    label, or a factor; of a quantity the lower and the upper third). None where there is no such attribute.
    A conditional model keeps the image's label.
    """
    for attribute in attributes(codes.y, codes.factors, factor_names):
        found = _differences(codes, attribute, rows)
        if found is not None:
            break
    else:
        return None
    first, step, moves = found
    device = model.device
    t = torch.linspace(0, 1, steps)[:, None]
    z = codes.loc[first][:, None] + t * step[:, None]
    y = None if codes.y is None else codes.y[first][:, None].to(device)
    return Arithmetic(model.decode(z.to(device), y), attribute.name, moves)


def _differences(codes: Codes, attribute: Attribute, rows: int) -> tuple[Tensor, Tensor, list[str]] | None:
    """(the first image of each class a, mean code of b - mean code of a, names); None for a lone class."""
    names, index = groups(attribute)
    members = [(index == k).nonzero().squeeze(-1) for k in range(len(names))]
    kept = [k for k, images in enumerate(members) if len(images)]
    if len(kept) < 2:
        return None
    moves = list(zip(kept, [*kept[1:], kept[0]], strict=True))[:rows]
    means = {k: codes.loc[members[k]].mean(0) for k in kept}
    first = torch.stack([members[a][0] for a, _ in moves])
    step = torch.stack([means[b] - means[a] for a, b in moves])
    return first, step, [f"{names[a]} to {names[b]}" for a, b in moves]
