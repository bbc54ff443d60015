"""Codes of any dimension as points of a plane."""

import importlib.util
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.errors import UserError

METHODS = ("pca", "umap")
FEWEST_NEIGHBOURS = 10  # codes; UMAP has nothing to learn from fewer


class Plane(NamedTuple):
    """Points to draw, and what the axes are."""

    points: Tensor  # (N, 2)
    x: str
    y: str
    latent: bool = False  # the axes are the latent dimensions themselves


def check_projection(method: str) -> None:
    """A UserError if there is no such method, or if it needs a package that is not installed."""
    if method not in METHODS:
        raise UserError(
            f"callbacks.latent_map.projection={method} does not fit: it must be one of {', '.join(METHODS)}."
        )
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise UserError(
            "callbacks.latent_map.projection=umap needs the package umap-learn, which is not installed: "
            "pip install umap-learn, or use projection=pca."
        )


def project(codes: Tensor, method: str = "pca") -> Plane:
    """Codes (N, D) -> points (N, 2), N > 0.

    Two dimensions are the plane themselves. One dimension is drawn against its empirical distribution
    function. More are projected, by ``method``: "pca" (their principal components, with the share of the
    codes' variance that each explains) or "umap" (McInnes, Healy & Melville, 2018; with a fixed seed; of
    fewer than FEWEST_NEIGHBOURS codes the principal components, as the axes then say).
    """
    check_projection(method)
    codes = codes.double()
    dimensions = codes.shape[1]
    if dimensions == 2:
        return Plane(codes, "z₀", "z₁", latent=True)
    if dimensions == 1:
        below = codes[:, 0].argsort().argsort() / max(1, len(codes) - 1)
        return Plane(torch.stack([codes[:, 0], below.double()], dim=1), "z₀", "share of the images below")
    if method == "umap" and len(codes) >= FEWEST_NEIGHBOURS:
        return Plane(_umap(codes), "UMAP 1", "UMAP 2")
    points, shares = principal_components(codes)
    x, y = (f"principal component {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(shares))
    return Plane(points, x, y)


def principal_components(codes: Tensor) -> tuple[Tensor, list[float]]:
    """The first two: (N, D), D > 1 -> scores (N, 2), and the share of the variance that each explains.

    The sign of a component is such that its largest loading is positive. 0 where there is no variance.
    """
    centred = codes - codes.mean(0)
    _, deviations, axes = torch.linalg.svd(centred, full_matrices=False)
    axes, deviations = axes[:2], deviations[:2]
    if len(axes) < 2:  # a single image
        axes, deviations = axes.expand(2, -1), deviations.expand(2)
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    total = centred.square().sum().clamp(min=torch.finfo(codes.dtype).tiny)
    return centred @ (axes * largest.sign()).T, (deviations.square() / total).tolist()


def _umap(codes: Tensor) -> Tensor:
    import umap  # not among the dependencies

    neighbours = min(15, len(codes) - 1)  # 15 is UMAP's own choice
    method = umap.UMAP(n_components=2, n_neighbors=neighbours, random_state=0, n_jobs=1)
    return torch.as_tensor(method.fit_transform(codes.float().numpy())).double()
