import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from builders import random
from support.chance import SIGMAS
from vaelab.functional.distributions import gaussian_kl
from vaelab.models.divergence import kl_per_dimension, rate
from vaelab.models.posteriors import Deterministic, DiagonalGaussian, bounded
from vaelab.models.priors import StandardNormal
from vaelab.types import LatentStats

B, D, S = 5, 3, 7


@pytest.fixture
def encoded() -> torch.Tensor:
    return torch.randn(B, 2 * D, generator=random(), dtype=torch.float64)


def reference(encoded: torch.Tensor) -> Normal:
    """The first half of the encoder's output is mu, the second log sigma^2."""
    return Normal(encoded[:, :D], torch.exp(encoded[:, D:] / 2))


def test_the_encoder_gives_mean_and_log_variance_and_a_sample_is_mean_plus_scale_times_noise(encoded):
    posterior, noise = DiagonalGaussian(D), torch.randn(S, B, D, generator=random(1), dtype=torch.float64)
    q, r = posterior(encoded), reference(encoded)
    assert posterior.parameter_count == encoded.shape[1]
    torch.testing.assert_close(q.loc, r.mean)
    torch.testing.assert_close(q.scale, r.stddev)
    torch.testing.assert_close(q.log_var, r.variance.log())
    torch.testing.assert_close((posterior.sample(q, noise) - r.mean) / r.stddev, noise)


def test_log_prob_is_summed_over_dimensions(encoded):
    posterior, z = DiagonalGaussian(D), torch.randn(S, B, D, generator=random(1), dtype=torch.float64)
    expected = Independent(reference(encoded), 1).log_prob(z)
    assert expected.shape == (S, B)
    torch.testing.assert_close(posterior.log_prob(posterior(encoded), z), expected)


def test_kl_is_that_of_torch_for_each_dimension(encoded):
    q, normal = reference(encoded), Normal(0.0, 1.0)
    found = kl_per_dimension(DiagonalGaussian(D), DiagonalGaussian(D)(encoded), StandardNormal())
    torch.testing.assert_close(found, kl_divergence(q, normal))
    assert (found - kl_divergence(normal, q)).abs().min() > 1e-3  # the other direction is another number


def test_the_standard_normals_log_prob_is_the_joint_density_and_its_samples_the_noise():
    z = torch.randn(S, B, D, generator=random(), dtype=torch.float64)
    expected = MultivariateNormal(z.new_zeros(D), torch.eye(D, dtype=torch.float64)).log_prob(z)
    torch.testing.assert_close(StandardNormal().log_prob(z), expected)
    assert torch.equal(StandardNormal().sample(z[0]), z[0])


def test_the_rate_is_the_mean_of_log_q_minus_log_p(encoded):
    posterior, prior = DiagonalGaussian(D), StandardNormal()
    q = posterior(encoded)
    z = posterior.sample(q, torch.randn(100_000, B, D, generator=random(1), dtype=torch.float64))
    log_q, log_p = posterior.log_prob(q, z), prior.log_prob(z)
    error = (log_q - log_p).std(0) / len(z) ** 0.5
    exact = rate(posterior, q, prior, LatentStats(kl=kl_per_dimension(posterior, q, prior)))
    assert (error < 0.01 * exact).all()
    assert (((log_q - log_p).mean(0) - exact).abs() < SIGMAS * error).all()


def test_a_sample_has_gradients_for_mean_and_log_variance(encoded):
    encoded.requires_grad_()
    posterior, noise = DiagonalGaussian(D), torch.randn(1, B, D, generator=random(1), dtype=torch.float64)
    q = posterior(encoded)
    (gradient,) = torch.autograd.grad(posterior.sample(q, noise).sum(), encoded)
    torch.testing.assert_close(gradient[:, :D], torch.ones(B, D, dtype=torch.float64))
    torch.testing.assert_close(gradient[:, D:], (noise[0] * q.scale / 2).detach())


def test_a_deterministic_posterior_is_its_mean_and_has_no_density(encoded):
    posterior = Deterministic(2 * D)
    q = posterior(encoded)
    z = posterior.sample(q, torch.randn(S, B, 2 * D, generator=random(1)))
    assert posterior.parameter_count == 2 * D
    assert torch.equal(z, encoded.expand(S, B, 2 * D))
    assert (q.scale == 0).all()
    log_q = posterior.log_prob(q, z)
    parts = kl_per_dimension(posterior, q, StandardNormal())
    undefined_rate = rate(posterior, q, StandardNormal(), LatentStats(log_q=log_q, log_p=torch.zeros(S, B)))
    for undefined, shape in ((log_q, (S, B)), (undefined_rate, (B,)), (parts, (B, 2 * D))):
        assert undefined.shape == shape
        assert undefined.isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_log_variance_is_bounded_where_its_exponential_overflows_and_nowhere_else(dtype: torch.dtype):
    ordinary = 40 * torch.randn(1000, generator=random()).clamp(-1, 1).to(dtype)
    assert torch.equal(bounded(ordinary), ordinary)
    far = torch.tensor([1e3, -1e3, 1e9, 1e30], dtype=dtype, requires_grad=True)
    found = bounded(far)
    assert found.exp().square().isfinite().all()
    assert (-found).exp().square().isfinite().all()
    assert torch.autograd.grad(found.sum(), far)[0].tolist() == [1, 1, 1, 1]  # it can come back


def test_an_encoder_that_is_far_out_has_a_finite_rate():
    posterior = DiagonalGaussian(2)
    q = posterior(torch.tensor([[1.0, 2.0, 500.0, -500.0]]))
    z = posterior.sample(q, torch.ones(1, 1, 2))
    assert posterior.log_prob(q, z).isfinite().all()
    assert gaussian_kl(q.loc, q.log_var).isfinite().all()
