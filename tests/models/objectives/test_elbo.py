import torch

from builders import latent_stats
from vaelab.models.objectives import KL, Distortion


def test_distortion_is_per_sample_and_image():
    stats = latent_stats(7, samples=3)
    assert torch.equal(Distortion()(stats, 0), stats.distortion)


def test_kl_is_per_image():
    stats = latent_stats(7, samples=3)
    torch.testing.assert_close(KL()(stats, 0), stats.kl.sum(1))


def test_only_the_kl_needs_a_density():
    assert KL.needs_density
    assert not Distortion.needs_density


def test_weights_are_one_unless_said():
    assert Distortion().weight(0).item() == 1.0
    assert KL().weight(0).item() == 1.0
    assert KL(4.0).weight(0).item() == 4.0
