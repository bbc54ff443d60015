"""The full-covariance posterior against torch's and numpy's multivariate normals."""

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

import vaelab
from builders import images, random, vae
from cli_runner import trained
from support.chance import SIGMAS
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.divergence import kl_per_dimension, rate
from vaelab.models.networks import mlp
from vaelab.models.objectives import KL, Distortion, Objective
from vaelab.models.posteriors import DiagonalGaussian, FullCovariance
from vaelab.models.priors import StandardNormal
from vaelab.types import LatentStats

B, D, S = 5, 4, 7
POSTERIOR = FullCovariance(D)


@pytest.fixture
def encoded() -> torch.Tensor:
    return torch.randn(B, POSTERIOR.parameter_count, generator=random(), dtype=torch.float64)


def reference(encoded: torch.Tensor) -> MultivariateNormal:
    """mu, then log L_dd^2, then the entries below the diagonal, row by row."""
    tril = np.zeros((B, D, D))
    for b in range(B):
        below = iter(encoded[b, 2 * D :].tolist())
        for row in range(D):
            tril[b, row, row] = np.exp(encoded[b, D + row].item() / 2)
            for column in range(row):
                tril[b, row, column] = next(below)
        assert next(below, None) is None
    return MultivariateNormal(encoded[:, :D], scale_tril=torch.from_numpy(tril))


def test_the_encoder_gives_the_mean_and_a_cholesky_factor(encoded):
    q, exact = POSTERIOR(encoded), reference(encoded)
    assert POSTERIOR.parameter_count == D + D * (D + 1) // 2
    torch.testing.assert_close(q.loc, exact.mean)
    torch.testing.assert_close(q.tril, exact.scale_tril)
    torch.testing.assert_close(q.scale, exact.variance.sqrt())
    torch.testing.assert_close(q.log_var, exact.variance.log())


def test_log_prob_is_the_joint_density(encoded):
    z = torch.randn(S, B, D, generator=random(1), dtype=torch.float64)
    torch.testing.assert_close(POSTERIOR.log_prob(POSTERIOR(encoded), z), reference(encoded).log_prob(z))


def test_samples_have_the_covariance(encoded):
    n = 200_000
    z = POSTERIOR.sample(
        POSTERIOR(encoded), torch.randn(n, B, D, generator=random(1), dtype=torch.float64)
    ).numpy()
    exact = reference(encoded)
    for b in range(B):
        covariance = exact.covariance_matrix[b].numpy()
        scale = np.sqrt(np.outer(covariance.diagonal(), covariance.diagonal()))
        assert (np.abs(np.cov(z[:, b].T) - covariance) < 0.015 * scale).all()
        assert (np.abs(z[:, b].mean(0) - exact.mean[b].numpy()) < 0.015 * scale.diagonal() ** 0.5).all()
    assert np.abs(np.corrcoef(z[:, 0].T) - np.eye(D)).max() > 0.2


def test_the_rate_is_torchs_and_its_parts_are_the_chain_rules(encoded):
    q, exact = POSTERIOR(encoded), reference(encoded)
    p = MultivariateNormal(torch.zeros(D, dtype=torch.float64), torch.eye(D, dtype=torch.float64))
    parts = kl_per_dimension(POSTERIOR, q, StandardNormal())
    of_q = rate(POSTERIOR, q, StandardNormal(), LatentStats(kl=parts))
    torch.testing.assert_close(of_q, kl_divergence(exact, p))
    for b in range(B):
        mean, covariance = exact.mean[b].numpy(), exact.covariance_matrix[b].numpy()
        for d in range(D):
            # q(z_d | z_<d) by the textbook: its variance, and the mean and variance of its mean
            gain = covariance[d, :d] @ np.linalg.inv(covariance[:d, :d])
            variance = covariance[d, d] - gain @ covariance[:d, d]
            spread = gain @ covariance[:d, :d] @ gain
            expected = 0.5 * (mean[d] ** 2 + spread + variance - 1 - np.log(variance))
            assert parts[b, d].item() == pytest.approx(expected, rel=1e-9)


def test_without_entries_below_the_diagonal_it_is_the_diagonal_gaussian(encoded):
    encoded[:, 2 * D :] = 0
    q, diagonal = POSTERIOR(encoded), DiagonalGaussian(D)
    r = diagonal(encoded[:, : 2 * D])
    noise = torch.randn(S, B, D, generator=random(1), dtype=torch.float64)
    z = POSTERIOR.sample(q, noise)
    torch.testing.assert_close(z, diagonal.sample(r, noise))
    torch.testing.assert_close(POSTERIOR.log_prob(q, z), diagonal.log_prob(r, z))
    torch.testing.assert_close(
        kl_per_dimension(POSTERIOR, q, StandardNormal()), kl_per_dimension(diagonal, r, StandardNormal())
    )


@pytest.mark.parametrize("d", [1, 2, 9])
def test_any_number_of_dimensions_and_gradients_for_every_parameter(d):
    posterior = FullCovariance(d)
    encoded = torch.randn(3, posterior.parameter_count, generator=random()).requires_grad_()
    q = posterior(encoded)
    z = posterior.sample(q, torch.randn(2, 3, d, generator=random(1)))
    (posterior.log_prob(q, z).sum() + z.square().sum()).backward()
    assert (encoded.grad != 0).all()


def model(prior, d: int = 3) -> Autoencoder:
    posterior = FullCovariance(d)
    encoder, decoder = mlp((1, 4, 4), d, posterior.parameter_count, 1, (8,))
    objective = Objective({"distortion": Distortion(), "kl": KL()})
    return Autoencoder(encoder, decoder, posterior, prior, vae().likelihood, objective)


def test_the_closed_rate_is_the_mean_of_the_estimates():
    torch.manual_seed(0)
    full = model(StandardNormal())
    with torch.no_grad():
        full.encoder[-1].bias.copy_(torch.randn(full.encoder[-1].bias.shape, generator=random(3)))
    stats = full(images(5), full.draw_noise(5, random(), samples=50_000)).stats
    estimates = stats.log_q - stats.log_p
    error = estimates.std(0) / len(estimates) ** 0.5
    assert (error > 1e-4).all()
    assert ((estimates.mean(0) - stats.rate).abs() < SIGMAS * error).all()
    assert (error < 0.05).all()


def test_it_is_one_setting_on_the_command_line(tmp_path):
    result = trained(
        tmp_path, "model=vae", "model.latent_dim=3",
        "model.posterior._target_=vaelab.models.FullCovariance",
    )  # fmt: skip
    got = result.record["metrics"]
    assert sum(got["test/kl_per_dim"]) == pytest.approx(got["test/rate"], rel=1e-5)
    q = vaelab.load(result.folder).encode(torch.rand(2, 1, 8, 8))
    assert q.tril.shape == (2, 3, 3)
    assert (q.tril.tril(-1) != 0).sum() == 2 * 3
