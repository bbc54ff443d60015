"""The split of the rate against the analytic rate and Gaussian closed forms."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from builders import random
from vaelab.functional.distributions import gaussian_kl, normal_log_prob, standard_normal_log_prob
from vaelab.functional.estimators import aggregate_log_densities
from vaelab.metrics import AggregatePosterior

PARTS = ("mutual_information", "total_correlation", "dimension_wise_kl")


def planted(number: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Posteriors N(mu, s^2): mu_1 ~ N(0, 0.91), s_1 = 0.3; mu_2 = mu_1 exactly; a third that is the prior."""
    source = random(seed)
    mu = math.sqrt(0.91) * torch.randn(number, generator=source, dtype=dtype)
    loc = torch.stack([mu, mu, 0 * mu], dim=1)
    scale = torch.tensor([0.3, 0.3, 1.0], dtype=dtype).expand(number, -1)
    z = loc + scale * torch.randn(number, 3, generator=source, dtype=dtype)
    return {
        "position": torch.arange(number),
        "z": z[None],
        "z_prior": torch.randn(number, 3, generator=source, dtype=dtype),
        "loc": loc,
        "scale": scale,
        "log_q": normal_log_prob(z, loc, 2 * scale.log()).sum(-1)[None],
        "log_p": standard_normal_log_prob(z)[None],
        "kl": gaussian_kl(loc, 2 * scale.log()),
    }


def measured(stats: dict[str, Tensor], sizes: list[int], images: int = 10**6) -> dict[str, Tensor]:
    metric = AggregatePosterior(images)
    start = 0
    for size in sizes:
        part = slice(start, start + size)
        samples_first = ("z", "log_q", "log_p")
        metric.update(**{k: v[:, part] if k in samples_first else v[part] for k, v in stats.items()})
        start += size
    return metric.compute()


def test_the_split_is_that_of_the_gaussian_aggregate():
    """q(z) = N(0, C), C_12 = 0.91: TC = -1/2 log(1 - 0.91^2), I = 1/2 logdet C - log 0.09."""
    found = measured(planted(4000), [4000])
    tc = -0.5 * math.log(1 - 0.91**2)
    information = 0.5 * math.log(1 - 0.91**2) - 2 * math.log(0.3)
    assert found["total_correlation"].item() == pytest.approx(tc, abs=0.05)
    assert found["mutual_information"].item() == pytest.approx(information, abs=0.05)
    assert found["dimension_wise_kl"].item() == pytest.approx(0, abs=0.02)
    assert found["aggregate_kl"].item() == pytest.approx(tc, abs=0.05)
    assert found["aggregate_images"] == 4000


def test_the_information_of_few_images_is_at_most_the_log_of_their_number():
    stats = planted(8)
    stats["scale"] = stats["scale"] * 1e-4
    stats["z"] = stats["loc"][None]
    stats["log_q"] = normal_log_prob(stats["loc"], stats["loc"], 2 * stats["scale"].log()).sum(-1)[None]
    assert measured(stats, [8])["mutual_information"].item() == pytest.approx(math.log(8), abs=1e-6)


@pytest.mark.parametrize("sizes", [[7] * 43, [1, 300], [300, 1]])
def test_the_numbers_belong_to_the_images(sizes):
    stats, whole = planted(301), measured(planted(301), [301])
    found = measured(stats, sizes)
    order = torch.randperm(301, generator=random(3))
    mixed = {k: v[:, order] if k in ("z", "log_q", "log_p") else v[order] for k, v in stats.items()}
    shuffled = measured(mixed, sizes)
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value, msg=name)
        torch.testing.assert_close(shuffled[name], value, msg=name)


def test_another_prior_has_no_kl_of_single_dimensions():
    stats = planted(200)
    stats["kl"] = stats["kl"] * math.nan
    found = measured(stats, [200])
    assert found["dimension_wise_kl"].isnan()
    assert all(found[name].isfinite() for name in ("mutual_information", "total_correlation", "aggregate_kl"))


def test_a_deterministic_code_has_a_hole_rate_and_nothing_else():
    stats = planted(200)
    stats["scale"], stats["log_q"], stats["kl"] = (
        0 * stats["scale"],
        stats["log_q"] * math.nan,
        stats["kl"] * math.nan,
    )
    found = measured(stats, [200])
    assert all(found[name].isnan() for name in (*PARTS, "aggregate_kl"))
    assert 0 <= found["hole_rate"] <= 1


def test_correlated_posteriors_are_mixed_as_they_are():
    rng = np.random.default_rng(0)
    loc, z = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    tril = np.tril(rng.normal(size=(6, 3, 3)) * 0.3) + 0.5 * np.eye(3)
    covariance = tril @ tril.transpose(0, 2, 1)
    scale = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    densities = np.array(
        [[multivariate_normal.pdf(point, loc[n], covariance[n]) for n in range(6)] for point in z]
    )
    joint, marginals = aggregate_log_densities(z, loc, scale, torch.tensor(tril))
    np.testing.assert_allclose(joint, np.log(densities.mean(1)))
    expected = sum(
        np.log(np.exp(-0.5 * ((z[:, d, None] - loc[:, d]) / scale[:, d]) ** 2 - np.log(scale[:, d])).mean(1))
        - 0.5 * np.log(2 * np.pi)
        for d in range(3)
    )
    np.testing.assert_allclose(marginals, expected)
    others = aggregate_log_densities(z, loc, scale, torch.tensor(tril), leave_out_own=True)[0]
    np.testing.assert_allclose(others, np.log((densities.sum(1) - np.diag(densities)) / 5))
    metric = AggregatePosterior()
    z, loc, scale = (torch.tensor(part) for part in (z, loc, scale))
    log_q = torch.tensor([multivariate_normal.logpdf(z[n], loc[n], covariance[n]) for n in range(6)])
    metric.update(
        torch.arange(6), z[None], z, loc, scale, log_q[None], standard_normal_log_prob(z)[None], z,
        SimpleNamespace(tril=torch.tensor(tril)),
    )  # fmt: skip
    torch.testing.assert_close(metric.compute()["mutual_information"], (log_q - joint).mean())
