import math

import pytest
import torch

from builders import images, latent_stats
from vaelab.metrics import BitsPerDimension

STATS = latent_stats(30, samples=3)


def measure(
    *discrete: bool, rate: torch.Tensor = STATS.rate, distortion: torch.Tensor = STATS.distortion
) -> float:
    """Of 30 images (2, 4, 5), in a batch for each flag."""
    metric, x = BitsPerDimension(), images(30, (2, 4, 5))
    for flag, part in zip(discrete, torch.arange(30).tensor_split(len(discrete)), strict=True):
        metric.update(x[part], rate[part], distortion[:, part], torch.tensor(flag), part)
    found = metric.compute()
    spread = (rate + distortion.mean(0)).std().item() / math.sqrt(30) / 40 / math.log(2)
    expected = spread if all(discrete) else math.nan
    assert found["bits_per_dimension_se"].item() == pytest.approx(expected, abs=1e-6, nan_ok=True)
    return found["bits_per_dimension"].item()


@pytest.mark.parametrize("batches", [1, 4])
def test_it_is_the_negative_elbo_in_bits_over_channels_and_pixels(batches):
    nats = (STATS.rate + STATS.distortion.mean(0)).double().mean().item()
    assert measure(*[True] * batches) == pytest.approx(nats / 40 / math.log(2), rel=1e-6)


def test_uniform_8_bit_noise_costs_8_bits():
    distortion = torch.full((3, 30), 40 * math.log(256))
    assert measure(True, distortion=distortion, rate=torch.zeros(30)) == pytest.approx(8, rel=1e-6)


def test_one_batch_that_is_not_discrete_makes_it_undefined():
    assert math.isnan(measure(True, False, True))
