import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from builders import random
from vaelab.functional.projection import check_projection, principal_components, project


def codes(n: int = 60, dimensions: int = 5) -> torch.Tensor:
    return 3 + torch.randn(n, dimensions, generator=random()) * torch.arange(1, dimensions + 1)


def test_two_dimensions_are_the_plane_itself():
    z = codes(dimensions=2)
    plane = project(z)
    assert torch.equal(plane.points.float(), z)
    assert plane.latent
    assert (plane.x, plane.y) == ("z₀", "z₁")
    assert torch.equal(project(-z).points.float(), -z)  # not even a sign is changed


def test_more_dimensions_are_projected_as_by_scikit_learn():
    z = codes()
    plane = project(z)
    reference = PCA(2).fit(z.double().numpy())
    expected = reference.transform(z.double().numpy())
    np.testing.assert_allclose(plane.points.abs().numpy(), np.abs(expected), atol=1e-9)
    _, shares = principal_components(z.double())
    np.testing.assert_allclose(shares, reference.explained_variance_ratio_, rtol=1e-9)
    assert not plane.latent
    assert f"{reference.explained_variance_ratio_[0]:.0%}" in plane.x
    assert f"{reference.explained_variance_ratio_[1]:.0%}" in plane.y


def test_the_sign_of_a_component_is_that_of_its_largest_loading():
    z = codes().double()
    for flipped in (z, -z):
        points, _ = principal_components(flipped)
        loadings = torch.linalg.lstsq(points, flipped - flipped.mean(0)).solution  # (2, D)
        assert (loadings.amax(1) > -loadings.amin(1)).all()


def test_one_dimension_is_drawn_against_its_distribution_function():
    plane = project(torch.tensor([[3.0], [1.0], [2.0]]))
    assert plane.points.tolist() == [[3.0, 1.0], [1.0, 0.0], [2.0, 0.5]]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_single_image_and_codes_that_coincide_have_points(dimensions):
    for z in (torch.ones(1, dimensions), torch.ones(7, dimensions)):
        points = project(z).points
        assert points.shape == (len(z), 2)
        assert points.isfinite().all()


def test_umap_is_refused_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package umap-learn.*pip install umap-learn"):
        check_projection("umap")
    with pytest.raises(ValueError, match="one of pca, umap"):
        project(codes(), "tsne")


class FakeUMAP:
    """Takes UMAP's place: the last two dimensions."""

    def __init__(self, n_components: int, n_neighbors: int, random_state: int, n_jobs: int) -> None:
        assert n_components == 2
        self.neighbours = n_neighbors

    def fit_transform(self, codes: np.ndarray) -> np.ndarray:
        assert self.neighbours < len(codes)
        return codes[:, -2:]


def test_umap_is_asked_where_it_is_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FakeUMAP))
    z = codes(12)
    plane = project(z, "umap")
    assert torch.equal(plane.points.float(), z[:, -2:])
    assert (plane.x, plane.y) == ("UMAP 1", "UMAP 2")
    assert project(codes(9), "umap").x.startswith("principal component 1")
