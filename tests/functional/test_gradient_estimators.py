"""The two gradient estimators against closed forms on f(z) = |z - a|^2."""

import pytest
import torch
from torch import Tensor

from support.chance import SIGMAS
from vaelab.functional.gradient_estimators import (
    compare_estimators,
    reparametrised_gradient,
    score_function_gradient,
)
from vaelab.functional.randomness import generator

LOC = torch.tensor([[0.7, -1.2], [0.1, 0.4]], dtype=torch.float64)  # (B, D)
SCALE = torch.tensor([[0.5, 1.1], [0.3, 0.8]], dtype=torch.float64)
CENTRE = torch.tensor([0.2, 0.5], dtype=torch.float64)
M = LOC - CENTRE


def quadratic(z: Tensor) -> Tensor:
    return (z - CENTRE).square().sum(-1)


def drawn(number: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(number, *LOC.shape, generator=generator(0, "test gradients"), dtype=dtype)


def expected() -> Tensor:
    """d/d(mu, log sigma) of E|z - a|^2 = sum_d (m_d^2 + s_d^2): (B, 2 D)."""
    return torch.cat([2 * M, 2 * SCALE**2], dim=-1)


def reparametrised_variance() -> Tensor:
    """g_mu = 2 (m + s e) and g_log_s = 2 (m + s e) s e."""
    return torch.cat([4 * SCALE**2, 4 * M**2 * SCALE**2 + 8 * SCALE**4], dim=-1)


def score_variance(baseline: float | Tensor = 0.0) -> Tensor:
    """Of (f - b) h(e_d), with f = f_d + c, f_d = (m_d + s_d e_d)^2 and c the other dimensions' sum.

    Var = E[f_d^2 h^2] + 2 E[c - b] E[f_d h^2] + E[(c - b)^2] E[h^2] - E[f_d h]^2 with normal moments;
    h = e / s for mu and e^2 - 1 for log s.
    """
    m, s = M, SCALE
    mean, variance = m**2 + s**2, 4 * m**2 * s**2 + 2 * s**4  # of each f_d
    rest = mean.sum(-1, keepdim=True) - mean - baseline
    rest_square = rest**2 + variance.sum(-1, keepdim=True) - variance
    mu = (
        (m**4 + 18 * m**2 * s**2 + 15 * s**4) / s**2
        + 2 * rest * (m**2 + 3 * s**2) / s**2
        + rest_square / s**2
        - (2 * m) ** 2
    )
    log_s = (
        2 * m**4 + 60 * m**2 * s**2 + 78 * s**4
        + 2 * rest * (2 * m**2 + 10 * s**2)
        + 2 * rest_square
        - (2 * s**2) ** 2
    )  # fmt: skip
    return torch.cat([mu, log_s], dim=-1)


def assert_is_the_mean(draws: Tensor, exact: Tensor) -> None:
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - exact).abs() < SIGMAS * error).all()
    assert (error < 0.05 * exact.abs().max()).all()  # sharp enough to tell a factor of two


def test_the_reparametrised_gradient_has_the_exact_mean_and_variance():
    draws = torch.cat(reparametrised_gradient(quadratic, LOC, SCALE, drawn(50_000)), dim=-1)
    assert_is_the_mean(draws, expected())
    torch.testing.assert_close(draws.var(0), reparametrised_variance(), rtol=0.05, atol=0)


def test_the_score_function_gradient_has_the_exact_mean_and_variance():
    draws = torch.cat(score_function_gradient(quadratic, LOC, SCALE, drawn(200_000)), dim=-1)
    assert_is_the_mean(draws, expected())
    torch.testing.assert_close(draws.var(0), score_variance(), rtol=0.08, atol=0)


def test_a_baseline_keeps_the_mean_and_with_many_draws_is_the_mean_of_f():
    noise = drawn(200_000)
    draws = torch.cat(score_function_gradient(quadratic, LOC, SCALE, noise, baseline=True), dim=-1)
    assert_is_the_mean(draws, expected())
    mean = (M**2 + SCALE**2).sum(-1, keepdim=True)
    torch.testing.assert_close(draws.var(0), score_variance(mean), rtol=0.08, atol=0)


def test_the_baseline_of_a_draw_is_the_mean_of_the_others():
    noise = drawn(3)
    value = quadratic(LOC + SCALE * noise)
    others = torch.stack([(value.sum(0) - one) / 2 for one in value])
    found = score_function_gradient(quadratic, LOC, SCALE, noise, baseline=True)
    torch.testing.assert_close(found.loc, (value - others)[..., None] * noise / SCALE)
    with pytest.raises(ValueError, match="at least 2"):
        score_function_gradient(quadratic, LOC, SCALE, noise[:1], baseline=True)


def test_the_variance_of_an_estimate_is_that_of_a_draw_over_their_number():
    samples = 4
    found = compare_estimators(quadratic, LOC, SCALE, drawn(12_000), samples)
    exact = reparametrised_variance().sum(-1) / samples
    torch.testing.assert_close(found.reparametrised, exact, rtol=0.12, atol=0)
    torch.testing.assert_close(found.score, score_variance().sum(-1) / samples, rtol=0.25, atol=0)
    assert (found.score_baseline < 0.9 * found.score).all()
    assert (found.score_baseline > 2 * found.reparametrised).all()


def test_the_difference_of_the_means_is_one_in_standard_errors():
    """A mean over 2 D = 4 squares of nearly standard normal numbers; with a biased estimator it explodes."""
    found = compare_estimators(quadratic, LOC, SCALE, drawn(12_000), 4)
    assert (found.difference < 4).all()
    assert (found.difference > 0.05).all()
    biased = compare_estimators(_without_gradient, LOC, SCALE, drawn(12_000), 4)
    assert (biased.difference > 20).all()


def _without_gradient(z: Tensor) -> Tensor:
    """Half of the slope is missing: what a mistake in a reparametrisation would do."""
    return quadratic(z.detach()) / 2 + quadratic(z) / 2


@pytest.mark.parametrize(("draws", "samples"), [(8, 1), (8, 3), (4, 4)])
def test_draws_fill_at_least_two_estimates(draws, samples):
    with pytest.raises(ValueError, match="estimates"):
        compare_estimators(quadratic, LOC, SCALE, drawn(draws), samples)
