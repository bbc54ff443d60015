"""Codes of any dimension as points of a plane."""

import importlib.util
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Plane", "check_projection", "principal_components", "project"]

METHODS = ("pca", "umap")
FEWEST_NEIGHBOURS = 10  # codes; UMAP has nothing to learn from fewer


class Plane(NamedTuple):
    """Points to draw, and what the axes are."""

    points: Tensor  # (N, 2)
    x: str
    y: str
    latent: bool = False  # the axes are the latent dimensions themselves


def check_projection(method: str) -> None:
    """A ValueError if the method does not exist, or needs a package that is not installed."""
    if method not in METHODS:
        raise ValueError(f"projection must be one of {', '.join(METHODS)}, got {method!r}")
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise ValueError(
            "projection=umap needs the package umap-learn, which is not installed: "
            "pip install umap-learn, or use projection=pca"
        )


def project(codes: Tensor, method: str = "pca") -> Plane:
    """Codes (N, D) -> points (N, 2), N > 0, float64 on the CPU.

    - D = 2: the codes are the points.
    - D = 1: the codes against their empirical distribution function.
    - D > 2, "pca": :func:`principal_components`, with the share of the variance that each explains.
    - D > 2, "umap": "UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction" (McInnes et
      al., 2018), https://arxiv.org/abs/1802.03426, with a fixed seed. Fewer than FEWEST_NEIGHBOURS codes are
      projected by "pca" instead, and the axes say so.

    Raises:
        ValueError: see :func:`check_projection`.
    """
    check_projection(method)
    codes = codes.detach().cpu().double()
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
    """The first two: (N, D), D > 1, on the CPU -> scores (N, 2), and the share of the variance of each.

    The sign of a component is such that its largest loading is positive, so that the same codes give the same
    picture. Codes that coincide have the scores and shares 0.
    """
    from sklearn.decomposition import PCA

    if (codes == codes[0]).all():
        return torch.zeros(len(codes), 2, dtype=codes.dtype), [0.0, 0.0]
    pca = PCA(2, svd_solver="full")
    scores = pca.fit_transform(codes.numpy())
    largest = np.abs(pca.components_).argmax(1)
    signs = np.sign(pca.components_[[0, 1], largest])  # which sign PCA takes depends on its version
    return torch.from_numpy(scores * signs), pca.explained_variance_ratio_.tolist()


def _umap(codes: Tensor) -> Tensor:
    import umap  # not among the dependencies

    neighbours = min(15, len(codes) - 1)  # 15 is UMAP's default
    method = umap.UMAP(n_components=2, n_neighbors=neighbours, random_state=0, n_jobs=1)
    return torch.as_tensor(method.fit_transform(codes.float().numpy())).double()
