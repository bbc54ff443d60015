"""Codes in their places: which parts of images have the same or similar codes."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from vaelab.models.autoencoder import Autoencoder

__all__ = ["code_colours", "code_maps"]

MOST_GROUPS = 8  # of codes at a place, each of which is a row
ENDS = (0.02, 0.98)  # quantiles that are the darkest and the brightest


def code_colours(points: Tensor) -> Tensor:
    """The vectors of codes (..., d) as colours: (..., 3), from 0 to 1, on the CPU.

    Red, green and blue are their first three principal components, each from one to the other of the
    quantiles ENDS. So equal codes have equal colours, and near ones similar colours. A component that there
    is not, or that is the same for all, is 1/2. The largest loading of a component is positive, so that the
    same codes give the same picture.
    """
    points = points.detach().cpu().double()
    flat = points.flatten(0, -2)
    centred = flat - flat.mean(0)
    _, axes = torch.linalg.eigh(centred.T @ centred)
    axes = axes.flip(1)[:, :3]  # the largest first
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    scores = centred @ axes
    low, high = scores.quantile(torch.tensor(ENDS).double(), dim=0)
    extent = high - low
    even = extent <= 1e-6 * extent.max()
    shares = ((scores - low) / extent.where(~even, 1.0)).clamp(0, 1).where(~even, 0.5)
    missing = 3 - shares.shape[1]
    return pad(shares, (0, missing), value=0.5).float().unflatten(0, points.shape[:-1])


@torch.no_grad()
def code_maps(
    model: Autoencoder, x: Tensor, y: Tensor | None, low: float, high: float
) -> tuple[Tensor, list[str]]:
    """Images x (N, C, H, W), their codes as coloured maps and their reconstructions, and row labels.

    The images of the picture are (2 + G, N, 3, H, W), in the range from ``low`` to ``high``, with a row for
    each of the G codes of a place (at most MOST_GROUPS), which has colours of its own.
    """
    posterior: Any = model.posterior
    q, size = model.encode(x, y), x.shape[2:]
    # of residual codes each is what its stage adds
    codes = posterior.layout.points(q.stages.diff(dim=1, prepend=torch.zeros_like(q.stages[:, :1])))
    groups, *places = posterior.code_shape
    codes = codes.flatten(1, 2).unflatten(1, (groups, -1))[:, :MOST_GROUPS]  # (N, G, h w, d)
    rows = []
    for group in codes.unbind(1):
        maps = code_colours(group).transpose(1, 2).unflatten(-1, places)
        rows.append(low + (high - low) * interpolate(maps, size, mode="nearest-exact"))
    original, reconstructed = (as_colour(part.cpu().float()) for part in (x, model.reconstruct(x, y)))
    labels = ["codes"] if len(rows) == 1 else [f"codes {number}" for number in range(len(rows))]
    return torch.stack([original, *rows, reconstructed]), ["original", *labels, "reconstruction"]


def as_colour(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as :func:`vaelab.figures.grids.image_grid` draws them, (N, 3, H, W)."""
    return images if images.shape[1] == 3 else images[:, :1].expand(-1, 3, -1, -1)
