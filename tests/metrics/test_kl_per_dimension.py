import numpy as np

from builders import latent_stats
from vaelab.metrics import KLPerDimension


def test_the_mean_over_images_of_each_dimension():
    kl = latent_stats(50).kl
    metric = KLPerDimension(4)
    for batch in kl.split(16):
        metric.update(batch)
    grouped = KLPerDimension(4, groups=[1, 3])
    grouped.update(kl)
    expected = kl.double().numpy().mean(0)
    np.testing.assert_allclose(grouped.compute().numpy(), [expected[0], expected[1:].sum()], rtol=1e-6)
    maps = KLPerDimension(4, latent_shape=(2, 1, 2))
    maps.update(kl)
    found = maps.compute()
    np.testing.assert_allclose(found["kl_per_dim"], expected, rtol=1e-6)
    np.testing.assert_allclose(found["kl_per_channel"], [expected[:2].sum(), expected[2:].sum()], rtol=1e-6)
    assert metric.compute().shape == (4,)
    np.testing.assert_allclose(metric.compute().numpy(), kl.double().numpy().mean(0), rtol=1e-6)
