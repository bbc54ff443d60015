import math

import pytest
import torch

from builders import images, latent_stats
from vaelab.metrics import BitsPerDimension

YES, NO = torch.tensor(True), torch.tensor(False)


def measure(*sizes: int, discrete: tuple[torch.Tensor, ...] | None = None, **changed: torch.Tensor) -> float:
    """Of 30 images (2, 4, 5) in batches of the given sizes."""
    stats, x, metric = (
        latent_stats(30, samples=3)._replace(**changed),
        images(30, (2, 4, 5)),
        BitsPerDimension(),
    )
    start = 0
    for size, flag in zip(sizes, discrete or (YES,) * len(sizes), strict=True):
        part = slice(start, start + size)
        metric.update(x=x[part], rate=stats.rate[part], distortion=stats.distortion[:, part], discrete=flag)
        start += size
    return metric.compute().item()


def test_it_is_the_negative_elbo_in_bits_over_channels_and_pixels():
    stats = latent_stats(30, samples=3)
    nats = (stats.rate + stats.distortion.mean(0)).double().mean().item()
    assert measure(30) == pytest.approx(nats / 40 / math.log(2), rel=1e-6)


def test_uniform_8_bit_noise_costs_8_bits():
    distortion = torch.full((3, 30), 40 * math.log(256))
    assert measure(30, distortion=distortion, rate=torch.zeros(30)) == pytest.approx(8, rel=1e-6)


def test_one_batch_that_is_not_discrete_makes_it_undefined():
    assert math.isnan(measure(30, discrete=(NO,)))
    assert math.isnan(measure(10, 10, 10, discrete=(YES, NO, YES)))
