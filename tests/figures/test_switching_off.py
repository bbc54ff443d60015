"""The picture of dimensions, or of the channels of latent maps, that are switched off as beta rises."""

import pytest
import torch

from builders import elbo_terms, images
from vaelab.figures.switching_off import kl_over_beta, switching_off
from vaelab.models import Autoencoder, Bernoulli, DiagonalGaussian, Objective, RateCondition, StandardNormal
from vaelab.models.networks import mlp


def multi_rate(latent_shape):
    torch.manual_seed(0)
    q, condition = DiagonalGaussian(12, latent_shape), RateCondition(0.1, 10.0, [1.0])
    shape, features = (1 + condition.channels, 4, 4), 12 + condition.features
    networks = mlp(shape, features, q.parameter_count, 1, hidden=(6,))
    pair = condition.networks(networks, shape, features)
    return Autoencoder(*pair, q, StandardNormal(), Bernoulli(), Objective(elbo_terms()), condition)


def test_of_latent_maps_there_is_the_sum_over_the_places_of_each_channel():
    betas, kl = kl_over_beta(multi_rate(()), images(9))
    found = kl_over_beta(multi_rate((3, 2, 2)), images(9))[1]
    assert kl.shape == (len(betas), 12)
    torch.testing.assert_close(found, torch.stack([part.sum(-1) for part in kl.split(4, -1)], -1))


@pytest.mark.parametrize("what", ["latent dimension", "channel"])
def test_the_legend_and_the_title_say_what_the_lines_are(what):
    betas, kl = torch.tensor([0.1, 1.0, 10.0]), torch.tensor([[3.0, 5.0], [0.0, 2.0], [0.0, 1.0]])
    axes = switching_off(betas, kl, what).axes[0]
    legend = axes.get_legend()
    assert legend.get_title().get_text() in what
    assert [text.get_text() for text in legend.get_texts()] == ["1", "0"]  # the last to be switched off first
    assert axes.get_title().startswith(f"KL of each {what};")
