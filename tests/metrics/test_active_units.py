import numpy as np
import pytest
import torch

from builders import Planted, random
from vaelab.functional.distributions import gaussian_kl
from vaelab.metrics import ActiveUnits, KLPerDimension


def fed(metric, values: torch.Tensor, size: int):
    for batch in values.split(size):
        metric.update(batch)
    return metric


@pytest.mark.parametrize("size", [1, 7, 64, 500])
def test_the_variance_is_that_of_the_whole_set(size):
    loc = torch.randn(500, 4, generator=random()) * torch.tensor([2.0, 0.5, 0.1, 0.0]) + 3
    metric = fed(ActiveUnits(4), loc, size)
    assert fed(ActiveUnits(4, groups=[1, 3]), loc, size).compute().tolist() == [1, 2]
    expected = np.var(loc.double().numpy(), axis=0)  # divided by N
    np.testing.assert_allclose(metric.variance().numpy(), expected, rtol=1e-5, atol=1e-12)
    assert metric.compute() == 3


def test_the_variance_survives_a_large_mean():
    """E[mu^2] - E[mu]^2 in float32 would be off by 0.1 here, more than the variances themselves."""
    variances = torch.tensor([0.02, 0.005, 0.0])
    loc = 1e3 + torch.randn(2000, 3, generator=random()) * variances.sqrt()
    for size in (16, 256):
        metric = fed(ActiveUnits(3), loc, size)
        expected = np.var(loc.double().numpy(), axis=0)
        np.testing.assert_allclose(metric.variance().numpy(), expected, rtol=1e-3, atol=1e-7)
        assert metric.compute() == 1
    naive = loc.square().mean(0) - loc.mean(0).square()
    assert (naive - torch.from_numpy(expected)).abs().max() > 0.02


def test_a_unit_is_active_above_the_threshold():
    signs = torch.tensor([-1.0, 1.0]).repeat(50)[:, None]
    loc = signs * torch.tensor([0.011, 0.009, 0.5, 0.0]).sqrt()  # variances 0.011, 0.009, 0.5, 0
    assert fed(ActiveUnits(4), loc, 10).compute() == 2
    assert fed(ActiveUnits(4, threshold=0.005), loc, 10).compute() == 3
    assert fed(ActiveUnits(4, threshold=0.1), loc, 10).compute() == 1


def test_planted_latents_are_found():
    """Pixels are +-1, so mu_d^2 = gain_d^2: 3 of 10 dimensions live, and each KL in closed form."""
    gain, log_var = torch.zeros(10), torch.zeros(10)
    gain[[2, 5, 7]] = torch.tensor([0.9, 1.5, 0.3])
    log_var[[2, 5, 7]] = torch.tensor([-2.0, -4.0, -0.5])
    x = torch.randint(0, 2, (64, 1, 2, 5), generator=random()).float() * 2 - 1
    x = torch.cat([x, -x])  # mean zero in every pixel
    loc, scale = Planted(gain, log_var)(x).chunk(2, dim=1)

    units, kl = ActiveUnits(10), KLPerDimension(10)
    fed(units, loc, 30)
    fed(kl, gaussian_kl(loc, scale), 30)
    s2 = log_var.double().exp()
    expected = 0.5 * (gain.double() ** 2 + s2 - s2.log() - 1)
    assert units.compute() == 3
    torch.testing.assert_close(units.variance(), gain.square())
    torch.testing.assert_close(kl.compute().double(), expected, rtol=1e-5, atol=1e-7)
    assert (kl.compute() > 0.01).nonzero().flatten().tolist() == [2, 5, 7]


def test_each_batch_may_be_measured_on_its_own_as_well():
    """Metric.forward, which Lightning users call: the value of a batch, and the whole in the end."""
    loc = torch.randn(40, 3, generator=random()) * torch.tensor([1.0, 0.5, 0.0])
    metric = ActiveUnits(3)
    values = [metric(batch).item() for batch in loc.split(10)]
    assert values == [2, 2, 2, 2]
    np.testing.assert_allclose(metric.variance().numpy(), np.var(loc.double().numpy(), axis=0), rtol=1e-5)


def test_a_channel_of_a_map_is_active_where_any_of_its_places_is():
    variance = torch.zeros(3, 2, 2)
    variance[0, 1, 0] = 0.5
    variance[2] = 0.02
    variance[1] = 0.009
    loc = torch.randn(4000, 12, generator=random()) * variance.flatten().sqrt()
    found = fed(ActiveUnits(12, latent_shape=(3, 2, 2)), loc, 1000).compute()
    assert {name: value.item() for name, value in found.items()} == {"active_units": 5, "active_channels": 2}
    one = fed(ActiveUnits(12, latent_shape=(3, 2, 2)), loc[:1], 1).compute()
    assert all(value.isnan() for value in one.values())
