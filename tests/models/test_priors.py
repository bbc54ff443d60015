import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from builders import random
from vaelab.models.priors import StandardNormal


def test_log_prob_is_the_joint_density():
    z = torch.randn(2, 5, 3, generator=random(), dtype=torch.float64)
    expected = MultivariateNormal(z.new_zeros(3), torch.eye(3, dtype=torch.float64)).log_prob(z)
    assert expected.shape == (2, 5)
    torch.testing.assert_close(StandardNormal().log_prob(z), expected)


def test_kl_is_from_the_posterior_to_the_prior():
    loc, log_var = torch.randn(2, 5, 3, generator=random(), dtype=torch.float64)
    q, p = Normal(loc, (log_var / 2).exp()), Normal(torch.zeros_like(loc), torch.ones_like(loc))
    found = StandardNormal().kl(loc, log_var)
    torch.testing.assert_close(found, kl_divergence(q, p))
    assert (found - kl_divergence(p, q)).abs().min() > 1e-3  # the other direction is another number


def test_samples_are_the_noise_itself():
    noise = torch.randn(5, 3, generator=random())
    assert torch.equal(StandardNormal().sample(noise), noise)
