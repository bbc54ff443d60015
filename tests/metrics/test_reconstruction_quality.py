import math

import numpy as np
import pytest
import torch

from builders import images, random
from vaelab.functional.image_quality import ssim
from vaelab.metrics import ReconstructionQuality

X = images(60, (1, 8, 8))
RECONSTRUCTION = X + 0.2 * torch.randn(2, 60, 1, 8, 8, generator=random(1))


def measure(metric, x=X, reconstruction=RECONSTRUCTION, sizes=(60,)) -> dict[str, float]:
    for part in torch.arange(len(x)).split(list(sizes)):
        metric.update(x[part], reconstruction[:, part], part)
    return {name: value.item() for name, value in metric.compute().items()}


def test_means_over_images_and_samples_with_their_standard_errors():
    found = measure(ReconstructionQuality(levels=256))
    error = (RECONSTRUCTION - X).double().numpy() ** 2
    decibels = -10 * np.log10(error.mean((2, 3, 4))).mean(0)
    similarity = ssim(X, RECONSTRUCTION).double().numpy().mean(0)
    expected = {"psnr": decibels.mean(), "psnr_se": decibels.std(ddof=1) / np.sqrt(60)}
    expected |= {"ssim": similarity.mean(), "ssim_se": similarity.std(ddof=1) / np.sqrt(60)}
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_first_images_of_the_split_are_measured_in_whatever_batches_they_come():
    expected = measure(ReconstructionQuality(images=25), X[:25], RECONSTRUCTION[:, :25], [25])
    for sizes in ([60], [7] * 8 + [4], [1] * 60):
        assert measure(ReconstructionQuality(images=25), sizes=sizes) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_the_data_range_is_the_scale(low):
    """Neither number changes where images and reconstructions are scaled and shifted with their range."""
    expected = measure(ReconstructionQuality())
    scaled = ReconstructionQuality(value_range=(low, low + 16))
    assert measure(scaled, low + 16 * X, low + 16 * RECONSTRUCTION) == pytest.approx(expected, rel=1e-4)
    halved = measure(ReconstructionQuality(value_range=(0, 2)))
    assert halved["psnr"] - expected["psnr"] == pytest.approx(10 * math.log10(4), abs=1e-3)


def test_grey_levels_have_the_whole_scale_whatever_the_images_use_of_it():
    narrow = ReconstructionQuality(value_range=(0.1, 0.6), levels=256)
    assert measure(narrow) == measure(ReconstructionQuality())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_of_another_precision(dtype):
    found = measure(ReconstructionQuality(), reconstruction=RECONSTRUCTION.to(dtype))
    assert found == pytest.approx(measure(ReconstructionQuality()), rel=1e-2 if dtype.itemsize == 2 else 1e-5)


def test_undefined_numbers_are_nan():
    assert all(map(math.isnan, measure(ReconstructionQuality(value_range=(0.5, 0.5))).values()))
    one = measure(ReconstructionQuality(), X[:1], RECONSTRUCTION[:, :1], [1])
    assert [math.isnan(value) for value in one.values()] == [False, True, False, True]


@pytest.mark.parametrize("options", [{"images": 0}, {"value_range": (1, 0)}])
def test_what_makes_no_sense_is_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must"):
        ReconstructionQuality(**options)
