"""1 - MS-SSIM, against scipy's filters."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from vaelab.models import StructuralSimilarity
from vaelab.models.objectives.similarity import WEIGHTS, scale_weights
from vaelab.types import LatentStats


def of(x, reconstruction, **options):
    """The term (S, B) of images (B, C, H, W) and reconstructions (S, B, C, H, W)."""
    term = StructuralSimilarity(x.shape[1:], **options)
    return term(LatentStats(x=x, reconstruction=reconstruction), 0)


def parts(x, y):
    """SSIM and its contrast and structure part, (H, W) each, of two images with values in [0, 1]."""

    def mean(image):
        return gaussian_filter(image, 1.5, truncate=3.5, mode="mirror")

    c1, c2 = 0.01**2, 0.03**2
    covariance = mean(x * y) - mean(x) * mean(y)
    variances = mean(x * x) - mean(x) ** 2 + mean(y * y) - mean(y) ** 2
    structure = (2 * covariance + c2) / (variances + c2)
    return structure * (2 * mean(x) * mean(y) + c1) / (mean(x) ** 2 + mean(y) ** 2 + c1), structure


def halved(image):
    return image.reshape(image.shape[0] // 2, 2, -1, 2).mean((1, 3))


def pair(size):
    x = torch.rand(3, 1, size, size).double()
    return x, (x[None] + 0.2 * torch.randn(2, 3, 1, size, size)).clamp(0, 1).double()


def test_one_scale_is_the_structural_similarity():
    x, y = pair(16)
    expected = [
        [(1 - parts(a[0].numpy(), b[0].numpy())[0].mean()) / 2 for a, b in zip(x, row, strict=True)]
        for row in y
    ]
    np.testing.assert_allclose(of(x, y).numpy(), expected, rtol=1e-5)
    assert 0.01 < np.mean(expected) < 0.5


def test_two_scales_are_a_product_of_powers():
    x, y = pair(24)
    fine, coarse = scale_weights(x.shape[1:])
    assert fine + coarse == pytest.approx(1)
    assert fine / coarse == pytest.approx(WEIGHTS[0] / WEIGHTS[1])
    for s in range(2):
        for n in range(3):
            a, b = x[n, 0].numpy(), y[s, n, 0].numpy()
            inside = parts(a, b)[1][5:-5, 5:-5].mean()  # where no window leaves the image
            whole = parts(halved(a), halved(b))[0].mean()
            expected = 1 - ((1 + inside) / 2) ** fine * ((1 + whole) / 2) ** coarse
            assert of(x, y)[s, n].item() == pytest.approx(expected, rel=1e-5)


def test_the_same_image_costs_nothing_and_a_negative_one_the_most():
    x = torch.rand(2, 3, 32, 32)
    costs = of(x, torch.stack([x, 0.9 * x, 1 - x]))
    assert costs[0].abs().max() < 1e-6
    assert (costs[1] > 1e-5).all()
    assert (costs[2] > costs[1]).all()
    assert costs.max() <= 1


def test_the_range_of_the_data_does_not_matter():
    x, y = pair(24)
    moved = of(6 * x - 2, 6 * y - 2, value_range=(-2.0, 4.0))
    torch.testing.assert_close(moved, of(x, y))


def test_it_has_a_gradient_where_the_structure_is_opposite():
    x = torch.rand(1, 1, 16, 16)
    y = (1 - x)[None].requires_grad_()
    of(x, y).sum().backward()
    assert y.grad.isfinite().all()
    assert y.grad.abs().max() > 0


def test_small_images_have_no_window():
    with pytest.raises(ValueError, match="images of 8x28 are smaller than the window of 11x11 pixels"):
        StructuralSimilarity((1, 8, 28))
    assert len(scale_weights((1, 11, 11))) == 1
    assert scale_weights((3, 176, 300)) == pytest.approx(list(WEIGHTS), abs=1e-4)
