"""Brackets of the parts of the rate: models whose exact numbers are known, and hand calculations in numpy."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from torch import Tensor

from builders import random
from support.chance import SIGMAS
from vaelab.functional.aggregate import (
    AggregateBrackets,
    Gaussians,
    aggregate_brackets,
    aggregate_log_densities,
    mixture_densities,
)
from vaelab.functional.distributions import standard_normal_log_prob

PARTS = ("mutual_information", "total_correlation", "dimension_wise_kl", "aggregate_kl")


def ends(found: AggregateBrackets) -> dict[str, tuple[float, float]]:
    values = found._asdict()
    return {part: (values[f"{part}_low"].item(), values[f"{part}_high"].item()) for part in PARTS}


def gaussian_model(
    number: int, covariance: Tensor, s: float, seed: int, further: int = 0
) -> tuple[Tensor, Gaussians, Tensor, Gaussians | None]:
    """(z, q(z|x), log q(z|x), ``further`` posteriors): q(z) is N(0, C), from posteriors N(mu, s^2 I)."""
    d = len(covariance)
    root = torch.linalg.cholesky(covariance - s**2 * torch.eye(d, dtype=torch.float64))
    noise = torch.randn(2, number + further, d, generator=random(seed), dtype=torch.float64)
    loc, scale = noise[0] @ root.T, torch.full((number + further, d), s, dtype=torch.float64)
    z = loc + s * noise[1]
    log_q = torch.distributions.Normal(loc, scale).log_prob(z).sum(-1)
    others = Gaussians(loc[number:], scale[number:]) if further else None
    return z[:number], Gaussians(loc[:number], scale[:number]), log_q[:number], others


@pytest.mark.parametrize("rate", [5, 10, 15, 25])
@pytest.mark.parametrize(("number", "further"), [(360, 0), (2000, 0), (360, 4000)])
def test_the_brackets_of_a_perfect_model_hold_the_truth(number, rate, further):
    """q(z) = p(z) = N(0, I) in 10 dimensions, s = exp(-R / 10): TC and both KL are 0, and I(x; z) = R.

    Each end is three standard errors outside of a number that errs outward: one in 700 seeds misses it.
    """
    identity = torch.eye(10, dtype=torch.float64)
    z, own, log_q, others = gaussian_model(number, identity, math.exp(-rate / 10), seed=rate, further=further)
    found = ends(aggregate_brackets(z, own, log_q, standard_normal_log_prob(z), others))
    truth = {"mutual_information": rate, "total_correlation": 0, "dimension_wise_kl": 0, "aggregate_kl": 0}
    for part, value in truth.items():
        low, high = found[part]
        assert low <= value <= high, part
    # the exact mixture of the N posteriors, as a number with its standard error, is far from 0 and from R
    alone = aggregate_log_densities(z, own.loc, own.scale)[0] - standard_normal_log_prob(z)
    assert alone.mean() > SIGMAS * alone.std() / number**0.5
    assert alone.mean() > (1 if rate >= 10 else 0.1)
    posteriors = further or number - 1
    # the mixture with z's own posterior says R - log(M + 1) at least, which is not 0
    assert found["aggregate_kl"][1] > rate - math.log(posteriors + 1)
    assert found["mutual_information"][0] < math.log(posteriors + 1) + 1e-9
    assert found["dimension_wise_kl"][1] < 0.6  # whatever the rate: dimensions of their own overlap


def test_the_ends_err_outward_in_expectation():
    """E low < E log q(z) < E high for the joint and the marginals, with 20 posteriors in 4 dimensions.

    The exact biases are far above the standard errors of the mean over 400 data sets of 20 images.
    """
    covariance = torch.eye(4, dtype=torch.float64)
    differences: list[list[Tensor]] = [[], [], [], []]
    for seed in range(400):
        z, own, _, others = gaussian_model(20, covariance, 0.5, seed, further=20 * (seed % 2))
        exact = standard_normal_log_prob(z)
        for values, density in zip(differences, mixture_densities(z, own, others), strict=True):
            values.append((density - exact).mean())
    for values, sign in zip(differences, (-1, 1, -1, 1), strict=True):
        biases = torch.stack(values)
        assert sign * biases.mean() > SIGMAS * biases.std() / 20


def test_the_brackets_hold_the_truth_for_most_samples():
    """Where the bracket is narrow. 300 samples; each end misses 1.35 in 1,000: 0.4 expected, 5 in 1e-4."""
    covariance = torch.tensor([[1.0, 0.6], [0.6, 0.8]], dtype=torch.float64)
    missed = dict.fromkeys(PARTS, 0)
    widths = []
    for seed in range(300):
        z, own, log_q, _ = gaussian_model(200, covariance, 0.4, seed)
        found = ends(aggregate_brackets(z, own, log_q, standard_normal_log_prob(z)))
        widths.append(found["total_correlation"][1] - found["total_correlation"][0])
        for part, value in gaussian_truth(covariance, 0.4).items():
            missed[part] += not found[part][0] <= value <= found[part][1]
    assert max(missed.values()) <= 4, missed
    assert np.mean(widths) < 0.5


def gaussian_truth(covariance: Tensor, s: float) -> dict[str, float]:
    """I = 1/2 log det C - D log s, TC = 1/2 (sum log C_dd - log det C), KL(N(0, C) || N(0, I))."""
    d, logdet, diagonal = len(covariance), torch.logdet(covariance).item(), covariance.diagonal()
    tc = 0.5 * (diagonal.log().sum().item() - logdet)
    kl = 0.5 * (diagonal.sum().item() - d - logdet)
    return {
        "mutual_information": 0.5 * logdet - d * math.log(s),
        "total_correlation": tc,
        "dimension_wise_kl": kl - tc,
        "aggregate_kl": kl,
    }


@pytest.mark.parametrize("further", [0, 6000])
def test_a_correlated_aggregate_has_its_total_correlation(further):
    covariance = torch.tensor([[1.5, 0.9, 0.0], [0.9, 1.0, -0.3], [0.0, -0.3, 0.8]], dtype=torch.float64)
    z, own, log_q, others = gaussian_model(2000, covariance, 0.35, seed=1, further=further)
    found = ends(aggregate_brackets(z, own, log_q, standard_normal_log_prob(z), others))
    truth = gaussian_truth(covariance, 0.35)
    assert truth["total_correlation"] > 0.5
    for part, value in truth.items():
        low, high = found[part]
        assert low <= value <= high, part
        assert high - low < 0.35, part  # 6 standard errors of 0.02 to 0.04 and the bias of the mixtures
    if further:
        alone = ends(aggregate_brackets(z, own, log_q, standard_normal_log_prob(z)))
        for part in ("mutual_information", "total_correlation", "aggregate_kl"):
            assert (
                found[part][1] - found[part][0] < alone[part][1] - alone[part][0]
            )  # more posteriors: narrower


def test_a_collapsed_model_has_nothing():
    z = torch.randn(50, 3, generator=random(0), dtype=torch.float64)
    log_p = standard_normal_log_prob(z)
    found = aggregate_brackets(z, Gaussians(torch.zeros_like(z), torch.ones_like(z)), log_p, log_p)
    for value in found:
        assert value.item() == pytest.approx(0, abs=1e-12)


def test_two_images_by_hand():
    z, loc, scale = (
        np.array([[0.2, -1.0], [1.5, 0.4]]),
        np.array([[0.0, -0.7], [1.0, 0.5]]),
        np.array([[0.5, 0.8], [0.9, 0.6]]),
    )
    density = norm.pdf(z[:, None], loc, scale)  # (z, image, dimension)
    joint = density.prod(-1)
    log_q, log_p = np.log(np.diag(joint)), norm.logpdf(z).sum(-1)
    low, high = np.log([joint[0, 1], joint[1, 0]]), np.log(joint.mean(1))
    single_low = np.log([density[0, 1], density[1, 0]]).sum(-1)
    single_high = np.log(density.mean(1)).sum(-1)
    own = Gaussians(torch.tensor(loc), torch.tensor(scale))
    for value, expected in zip(
        mixture_densities(torch.tensor(z), own), (low, high, single_low, single_high), strict=True
    ):
        np.testing.assert_allclose(value, expected)

    def end(values: np.ndarray, sign: int) -> float:
        return values.mean() + sign * 3 * abs(values[0] - values[1]) / 2  # sd / sqrt(2) of two values

    rate = end(log_q - log_p, 1)
    expected = {
        "mutual_information_low": max(0, end(log_q - high, -1)),
        "mutual_information_high": min(end(log_q - low, 1), end(log_q - single_low, 1), rate),
        "total_correlation_low": max(0, end(low - single_high, -1)),
        "total_correlation_high": end(high - single_low, 1),
        "dimension_wise_kl_low": max(0, end(single_low - log_p, -1)),
        "dimension_wise_kl_high": end(single_high - log_p, 1),
        "aggregate_kl_low": max(0, end(low - log_p, -1), end(single_low - log_p, -1)),
        "aggregate_kl_high": min(end(high - log_p, 1), rate),
    }
    found = aggregate_brackets(torch.tensor(z), own, torch.tensor(log_q), torch.tensor(log_p))._asdict()
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value), name


def test_correlated_posteriors_are_mixed_as_they_are(monkeypatch):
    rng = np.random.default_rng(0)
    loc, z = rng.normal(size=(9, 3)), rng.normal(size=(6, 3))
    tril = np.tril(rng.normal(size=(9, 3, 3)) * 0.3, -1) + np.diag([0.5, 0.7, 0.4])
    covariance = tril @ tril.transpose(0, 2, 1)
    scale = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    densities = np.array(
        [[multivariate_normal.pdf(point, loc[n], covariance[n]) for n in range(9)] for point in z]
    )
    single = norm.pdf(z[:, None], loc, scale)
    joint, marginals = aggregate_log_densities(z, loc, scale, torch.tensor(tril))
    np.testing.assert_allclose(joint, np.log(densities.mean(1)))
    np.testing.assert_allclose(marginals, np.log(single.mean(1)).sum(-1))
    first = Gaussians(*(torch.tensor(part[:6]) for part in (loc, scale, tril)))
    rest = Gaussians(*(torch.tensor(part[6:]) for part in (loc, scale, tril)))
    own = np.diag(densities)
    for size in (2**18, 20):  # one table, and two or three points at a time
        monkeypatch.setattr("vaelab.functional.aggregate.CHUNK", size)
        alone = mixture_densities(torch.tensor(z), first)
        np.testing.assert_allclose(alone.joint_low, np.log((densities[:, :6].sum(1) - own) / 5))
        np.testing.assert_allclose(alone.joint_high, np.log(densities[:, :6].mean(1)))
        np.testing.assert_allclose(alone.marginals_high, np.log(single[:, :6].mean(1)).sum(-1))
        with_others = mixture_densities(torch.tensor(z), first, rest)
        np.testing.assert_allclose(with_others.joint_low, np.log(densities[:, 6:].mean(1)))
        np.testing.assert_allclose(with_others.joint_high, np.log((densities[:, 6:].sum(1) + own) / 4))
        np.testing.assert_allclose(with_others.marginals_low, np.log(single[:, 6:].mean(1)).sum(-1))


def test_the_order_of_the_images_does_not_matter():
    z, own, log_q, _ = gaussian_model(100, torch.eye(3, dtype=torch.float64), 0.4, seed=0)
    order = torch.randperm(100, generator=random(1))
    mixed = Gaussians(own.loc[order], own.scale[order])
    found = aggregate_brackets(z[order], mixed, log_q[order], standard_normal_log_prob(z[order]))
    expected = aggregate_brackets(z, own, log_q, standard_normal_log_prob(z))
    torch.testing.assert_close(torch.stack(found), torch.stack(expected))


def test_without_densities_nothing_is_defined():
    z = torch.randn(5, 2, generator=random(0))
    undefined = z.new_full((5,), math.nan)
    log_p = standard_normal_log_prob(z)
    for count, scale in ((5, 0.0), (1, 1.0)):  # a deterministic posterior; a single image
        own = Gaussians(z[:count], torch.full_like(z[:count], scale))
        found = aggregate_brackets(z[:count], own, undefined[:count], log_p[:count])
        assert all(value.isnan() for value in found)
    found = aggregate_brackets(
        z, Gaussians(z, torch.ones_like(z)), log_p, undefined
    )  # a prior without density
    assert found.aggregate_kl_low.isnan()
    assert found.mutual_information_high.isfinite()
