"""HMC and annealing against Gaussians, where every density, sample and integral is known."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from builders import random
from support.chance import SIGMAS
from vaelab.functional.annealed_importance import (
    TARGET,
    Path,
    adapted_step_sizes,
    anneal,
    evaluate,
    hmc,
    leapfrog,
    linear_temperatures,
    sigmoid_temperatures,
)
from vaelab.functional.estimators import importance_bound

D = 2
W = torch.tensor([[1.2, 0.3], [-0.4, 0.9], [0.5, -0.8]], dtype=torch.float64)
SIGMA = 0.8


def gaussian_path(x: Tensor, sigma: float = SIGMA) -> Path:
    """base = N(0, I), ratio = N(x; W z, sigma^2 I): x (B, 3)."""
    constant = 3 * math.log(sigma) + 1.5 * math.log(2 * math.pi)

    def log_base(z: Tensor) -> Tensor:
        return -0.5 * z.square().sum(-1) - math.log(2 * math.pi)

    return Path(log_base, lambda z: -0.5 * ((x - z @ W.T) / sigma).square().sum(-1) - constant)


def tempered(x: Tensor, b: float, sigma: float = SIGMA) -> MultivariateNormal:
    """f_b, normalised: for B problems."""
    precision = torch.eye(D).double() + b / sigma**2 * W.T @ W
    covariance = precision.inverse()
    return MultivariateNormal(b / sigma**2 * x @ W @ covariance, covariance)


def evidence(x: Tensor, sigma: float = SIGMA) -> Tensor:
    return MultivariateNormal(torch.zeros(3).double(), W @ W.T + sigma**2 * torch.eye(3).double()).log_prob(x)


def images(number: int, sigma: float = SIGMA) -> tuple[Tensor, Tensor]:
    """x (B, 3) of the model itself, and the z (B, D) that it came from."""
    z = torch.randn(number, D, generator=random(1), dtype=torch.float64)
    return z @ W.T + sigma * torch.randn(number, 3, generator=random(2), dtype=torch.float64), z


def noise_at(chains: int, problems: int, seed: int = 3):
    return lambda t: torch.randn(
        chains, problems, D + 2, generator=random(1000 * seed + t), dtype=torch.float64
    )


def starts(chains: int, problems: int, seed: int = 4) -> Tensor:
    return torch.randn(chains, problems, D, generator=random(seed), dtype=torch.float64)


def quartic() -> Path:
    """A density that is not Gaussian: nothing of it is linear in z."""
    return Path(
        lambda z: -0.5 * z.square().sum(-1),
        lambda z: -(z[..., 0] * z[..., 1] - 1).square() - z.pow(4).sum(-1),
    )


# the integrator


def test_the_gradients_are_those_of_the_densities():
    z = starts(3, 4)
    point = evaluate(quartic(), z)
    a, b = z[..., 0], z[..., 1]
    inner = -2 * (a * b - 1)
    expected = torch.stack([inner * b - 4 * a**3, inner * a - 4 * b**3], dim=-1)
    torch.testing.assert_close(point.ratio_gradient, expected)
    torch.testing.assert_close(point.base_gradient, -z)
    torch.testing.assert_close(point.gradient(0.3), -z + 0.3 * expected)
    torch.testing.assert_close(point.log_density(0.3), -0.5 * z.square().sum(-1) + 0.3 * point.ratio)


def test_leapfrog_is_reversible():
    path, z, momentum = quartic(), starts(5, 4), starts(5, 4, seed=5)
    step = torch.tensor(0.07).double()
    there, turned = leapfrog(path, 0.6, evaluate(path, z), momentum, step, 9)
    assert (there.z - z).abs().mean() > 0.1
    back, again = leapfrog(path, 0.6, there, -turned, step, 9)
    torch.testing.assert_close(back.z, z)
    torch.testing.assert_close(-again, momentum)


def test_leapfrog_preserves_volume():
    path, step = quartic(), torch.tensor(0.15).double()

    def flow(state: Tensor) -> Tensor:  # (N, 4) -> (N, 4)
        point, momentum = leapfrog(path, 0.6, evaluate(path, state[None, :, :D]), state[None, :, D:], step, 6)
        return torch.cat([point.z, momentum], dim=-1)[0]

    at, h = torch.tensor([0.4, -0.9, 0.7, 0.2]).double(), 1e-5
    shifts = h * torch.eye(2 * D).double()
    jacobian = (flow(at + shifts) - flow(at - shifts)) / (2 * h)
    assert (jacobian - torch.eye(2 * D)).abs().max() > 0.3
    assert torch.linalg.det(jacobian).item() == pytest.approx(1, abs=1e-8)


def test_the_energy_error_falls_with_the_square_of_the_step():
    path, z, momentum = quartic(), 0.7 * starts(50, 4), starts(50, 4, seed=5)

    def error(step: float, steps: int) -> float:
        before = evaluate(path, z)
        after, turned = leapfrog(path, 0.6, before, momentum, torch.tensor(step).double(), steps)
        change = after.log_density(0.6) - before.log_density(0.6)
        return (change - 0.5 * (turned.square() - momentum.square()).sum(-1)).abs().mean().item()

    errors = [error(0.04 / 2**k, 8 * 2**k) for k in range(4)]
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(4, rel=0.05)


# the transition


def moments_agree(z: Tensor, target: MultivariateNormal) -> None:
    """The chains z (M, 1, D) have the target's mean and covariance, within SIGMAS standard errors."""
    number, covariance = len(z), target.covariance_matrix[0]
    variance = covariance.diagonal()
    delta = z[:, 0] - target.mean[0]
    assert (delta.mean(0).abs() < SIGMAS * (variance / number).sqrt()).all()
    error = ((variance[:, None] * variance + covariance.square()) / number).sqrt()
    assert ((delta.T @ delta / number - covariance).abs() < SIGMAS * error).all()


@pytest.mark.parametrize("b", [0.3, 1.0])
@pytest.mark.parametrize("exact", [True, False])
def test_hmc_leaves_a_gaussian_invariant_and_leads_to_it(b, exact):
    """With steps so large that many proposals are refused: without the choice it would be another."""
    x = torch.tensor([[1.5, -0.3, 0.8]]).double()
    path, target, chains = gaussian_path(x), tempered(x, b), 20_000
    z = starts(chains, 1)
    if exact:
        z = target.mean + z @ torch.linalg.cholesky(target.covariance_matrix).mT
    point, noise = evaluate(path, z), noise_at(chains, 1)
    step = torch.tensor([1.7]).double() * target.covariance_matrix[0].diagonal().min().sqrt()
    shares = []
    for t in range(25):
        point, acceptance = hmc(path, b, point, step, noise(t), 4)
        shares.append(acceptance.mean().item())
    assert 0.4 < sum(shares) / len(shares) < 0.85
    moments_agree(point.z, target)


def test_a_trajectory_out_of_range_is_refused():
    path = Path(lambda z: -0.5 * z.square().sum(-1), lambda z: -z.pow(4).sum(-1))
    z = starts(10, 3)
    point, acceptance = hmc(
        path, 1.0, evaluate(path, z), torch.full((3,), 1e3).double(), noise_at(10, 3)(0), 20
    )
    assert torch.equal(point.z, z)
    assert (acceptance == 0).all()


# step sizes


def test_step_sizes_reach_the_target_and_follow_the_scale():
    """Three problems whose densities differ in scale alone: so do their step sizes."""
    scales = torch.tensor([0.01, 1.0, 30.0]).double()
    path = Path(lambda z: -0.5 * (z / scales[:, None]).square().sum(-1), lambda z: 0 * z.sum(-1))
    temperatures = linear_temperatures(221)
    z = scales[:, None] * starts(24, 3)
    sizes = adapted_step_sizes(path, z, temperatures, noise_at(24, 3))
    assert sizes.shape == (220, 3)
    settled = sizes[100:].mean(0) / scales
    assert settled.max() / settled.min() < 1.15
    late = sizes[100:].mean(0).expand(220, 3)
    acceptance = anneal(
        path, scales[:, None] * starts(200, 3, seed=8), temperatures[:52], late, noise_at(200, 3, 5)
    ).acceptance
    assert acceptance.mean(0).tolist() == pytest.approx([TARGET] * 3, abs=0.08)


# annealing


def annealed(x: Tensor, z: Tensor, temperatures: list[float], seed: int = 3) -> Tensor:
    path, (chains, problems) = gaussian_path(x), z.shape[:2]
    up = temperatures if temperatures[0] == 0 else temperatures[::-1]
    sizes = adapted_step_sizes(path, starts(2, problems, seed=6), up, noise_at(2, problems, seed=7), 5)
    sizes = sizes if up is temperatures else sizes.flip(0)
    return anneal(path, z, temperatures, sizes, noise_at(chains, problems, seed), 5).log_w


def test_between_the_bounds_lies_the_evidence():
    x, z = images(150)
    exact, temperatures = evidence(x), sigmoid_temperatures(150)
    up = importance_bound(annealed(x, starts(12, 150), temperatures))
    down = -importance_bound(annealed(x, z.expand(12, -1, -1), temperatures[::-1], seed=9))
    for slack in (exact - up, down - exact):
        assert abs(slack.mean()) < 0.02
        assert slack.mean() > -SIGMAS * slack.std() / 150**0.5


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_the_weights_are_unbiased(steps):
    """E[w] = Z upwards and E[w] = 1/Z downwards, at any number of steps."""
    x, z = images(1)
    exact, chains = evidence(x), 40_000
    temperatures = linear_temperatures(steps)
    w = (annealed(x, starts(chains, 1), temperatures) - exact).exp()
    assert abs(w.mean() - 1) < min(SIGMAS * w.std() / chains**0.5, 0.1)
    posterior = tempered(x, 1.0)
    z = posterior.mean + starts(chains, 1, seed=11) @ torch.linalg.cholesky(posterior.covariance_matrix).mT
    # the ratio is bounded, but 1/ratio of the first step is not: its mean needs more than one
    w = (annealed(x, z, temperatures[::-1]) + exact).exp()
    if steps > 1:
        assert abs(w.mean() - 1) < min(SIGMAS * w.std() / chains**0.5, 0.1)


# temperatures


def test_temperatures():
    assert linear_temperatures(4) == [0, 0.25, 0.5, 0.75, 1]
    found = sigmoid_temperatures(10)
    assert (found[0], found[5], found[10]) == pytest.approx((0, 0.5, 1))
    assert found[2] == pytest.approx((1 / (1 + math.exp(2.4)) - 1 / (1 + math.exp(4))) / math.tanh(2))
    differences = [b - a for a, b in pairwise(found)]
    assert min(differences) > 0
    assert differences[0] < differences[4]
