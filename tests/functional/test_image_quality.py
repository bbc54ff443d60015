import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from builders import images, random
from vaelab.functional.image_quality import psnr, ssim


def pair(shape: tuple[int, int, int], n: int = 3, noise: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    x = images(n, shape).double()
    return x, x + noise * torch.randn(x.shape, generator=random(1), dtype=torch.float64)


def test_psnr_by_hand():
    x = torch.tensor([0.0, 1.0, 0.5, 0.5]).reshape(1, 2, 1, 2)
    y = x + torch.tensor([0.3, -0.1, 0.0, 0.0]).reshape(1, 2, 1, 2)  # mean square 0.025
    assert psnr(x, y).item() == pytest.approx(16.0206, abs=1e-3)  # 10 log10 40


def test_psnr_of_equal_images_is_bounded():
    x = images(2)
    assert psnr(x, x).tolist() == [100, 100]
    assert psnr(x, x + 1e-4).numpy() == pytest.approx([80, 80], abs=0.01)


def by_windows(x: np.ndarray, y: np.ndarray, size: int, deviation: float) -> float:
    """Wang et al.'s equations 13 to 16, window by window, in numpy."""
    place = np.arange(size) - (size - 1) / 2
    weights = np.exp(-(place[:, None] ** 2 + place**2) / (2 * deviation**2))
    weights /= weights.sum()
    found = []
    for a, b in zip(x, y, strict=True):
        for i in range(x.shape[1] - size + 1):
            for j in range(x.shape[2] - size + 1):
                p, q = a[i : i + size, j : j + size], b[i : i + size, j : j + size]
                mp, mq = (weights * p).sum(), (weights * q).sum()
                vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
                covariance = (weights * (p - mp) * (q - mq)).sum()
                up = (2 * mp * mq + 0.01**2) * (2 * covariance + 0.03**2)
                found.append(up / ((mp**2 + mq**2 + 0.01**2) * (vp + vq + 0.03**2)))
    return float(np.mean(found))


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 8, 8), 7), ((3, 10, 14), 9), ((2, 11, 11), 11), ((1, 13, 20), 11), ((1, 3, 9), 3)],
)
def test_ssim_window_by_window(shape, size):
    x, y = pair(shape)
    expected = [by_windows(a, b, size, 1.5 * size / 11) for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    assert ssim(x, y).numpy() == pytest.approx(expected, abs=1e-6)
    assert ssim(x.float(), y.float()).numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_ssim_is_torchmetrics_where_no_window_crosses_the_border(noise):
    x, y = pair((3, 28, 24), noise=noise)
    everywhere = structural_similarity_index_measure(y, x, data_range=1.0, return_full_image=True)[1]
    expected = everywhere[..., 5:-5, 5:-5].mean((1, 2, 3))
    torch.testing.assert_close(ssim(x, y), expected, rtol=0, atol=1e-6)


def test_constant_images_differ_in_luminance_alone():
    x, y = torch.full((1, 1, 12, 12), 0.2), torch.full((1, 1, 12, 12), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim(x, y).item() == pytest.approx(expected, abs=1e-4)
    assert ssim(x, x).item() == pytest.approx(1)


def test_samples_are_broadcast_over_images():
    x = images(4, (1, 8, 8))
    y = torch.rand(3, 4, 1, 8, 8, generator=random(2))
    for function in (psnr, ssim):
        assert torch.equal(function(x, y)[1], function(x, y[1]))


@pytest.mark.parametrize("shape", [(1, 1, 13), (1, 2, 9)])
def test_a_row_of_a_table_has_no_ssim(shape):
    found = ssim(images(4, shape), torch.zeros(2, 4, *shape))
    assert found.shape == (2, 4)
    assert all(map(math.isnan, found.flatten().tolist()))
