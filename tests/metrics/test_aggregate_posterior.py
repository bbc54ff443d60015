"""The metric of the aggregate posterior: brackets and hole rates belong to the images, not to the batches."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from builders import random
from vaelab.functional.aggregate import Gaussians, aggregate_brackets
from vaelab.functional.distributions import gaussian_kl, normal_log_prob, standard_normal_log_prob
from vaelab.functional.holes import hole_rate, null_hole_rate
from vaelab.metrics import AggregatePosterior

BRACKETS = [
    f"{part}_{end}"
    for part in ("mutual_information", "total_correlation", "dimension_wise_kl", "aggregate_kl")
    for end in ("low", "high")
]
SAMPLES_FIRST = ("z", "log_q", "log_p")


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


def measured(
    stats: dict[str, Tensor], sizes: list[int] | None = None, images: int = 10**6, **options: Any
) -> dict[str, Tensor]:
    """What the metric says of the statistics, in batches of the sizes given; ``options`` of each update."""
    metric = AggregatePosterior(images, **options.pop("init", {}))
    start = 0
    for size in sizes or [len(stats["loc"])]:
        part = slice(start, start + size)
        batch = {k: v[:, part] if k in SAMPLES_FIRST else v[part] for k, v in stats.items()}
        metric.update(**batch, **options)
        start += size
    return metric.compute()


def test_the_split_is_that_of_the_gaussian_aggregate():
    """q(z) = N(0, C), C_12 = 0.91: TC = -1/2 log(1 - 0.91^2), I = 1/2 logdet C - log 0.09."""
    found = measured(planted(3000))
    tc = -0.5 * math.log(1 - 0.91**2)
    information = 0.5 * math.log(1 - 0.91**2) - 2 * math.log(0.3)
    truth = dict(zip(BRACKETS[::2], (information, tc, 0.0, tc), strict=True))
    for low, value in truth.items():
        high = low.replace("_low", "_high")
        assert found[low] <= value <= found[high]
        assert found[high] - found[low] < 0.25
    assert found["aggregate_images"] == 3000
    assert found["aggregate_posteriors"] == 2999


@pytest.mark.parametrize("sizes", [[7] * 43, [1, 300], [300, 1]])
def test_the_numbers_belong_to_the_images(sizes):
    options = {"sample_prior": lambda noise: noise, "images": 250}
    stats, whole = planted(301), measured(planted(301), **options)
    found = measured(stats, sizes, **options)
    order = torch.randperm(301, generator=random(3))
    mixed = {k: v[:, order] if k in SAMPLES_FIRST else v[order] for k, v in stats.items()}
    shuffled = measured(mixed, sizes, **options)
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value, msg=name)
        torch.testing.assert_close(shuffled[name], value, msg=name)


def test_at_the_test_the_mixture_is_of_training_images():
    """As many as the budget of operations allows, and no more than asked for."""
    stats, training, asked = planted(100), planted(5000, seed=1), []

    def posteriors(count: int) -> SimpleNamespace:
        asked.append(count)
        q = {name: training[name][:count] for name in ("loc", "scale")}
        return SimpleNamespace(**q, tril=torch.diag_embed(q["scale"]))

    found = measured(stats, training_posteriors=posteriors, init={"posteriors": 3000})
    others = Gaussians(training["loc"][:3000], training["scale"][:3000])
    own = Gaussians(stats["loc"], stats["scale"])
    expected = aggregate_brackets(stats["z"][0], own, stats["log_q"][0], stats["log_p"][0], others)
    torch.testing.assert_close([found[name] for name in BRACKETS], list(expected))
    assert found["aggregate_posteriors"] == 3000
    budget = {"operations": 100 * 3 * 700 + 299}
    assert measured(stats, training_posteriors=posteriors, init=budget)["aggregate_posteriors"] == 700
    tril = torch.diag_embed(stats["scale"])
    correlated = measured(stats, training_posteriors=posteriors, q=SimpleNamespace(tril=tril), init=budget)
    assert correlated["aggregate_posteriors"] == 700 // 6
    assert asked == [3000, 700, 700 // 6]


def test_another_prior_has_no_kl_of_single_dimensions():
    stats = planted(200)
    stats["kl"] = stats["kl"] * math.nan
    found = measured(stats)
    for name in BRACKETS:
        assert found[name].isnan() == name.startswith("dimension_wise"), name


def test_a_deterministic_code_has_hole_rates_and_nothing_else():
    """Its z does not vary, so only the draws of the prior do."""
    stats = planted(200)
    stats["scale"], stats["z"] = 0 * stats["scale"], stats["loc"][None]
    stats["log_q"], stats["kl"] = stats["log_q"] * math.nan, stats["kl"] * math.nan
    stats["loc"] = stats["loc"] + 0.1 * torch.randn(200, 3, generator=random(1))
    stats["z"] = stats["loc"][None]

    def never(count: int) -> None:
        raise AssertionError("there are no densities to compute")

    found = measured(stats, sample_prior=lambda noise: noise, training_posteriors=never)
    for name in (*BRACKETS, "aggregate_posteriors"):
        assert found[name].isnan(), name
    assert found["hole_rate"] > 0.1  # the codes are near a line
    assert 0 < found["hole_rate_se"] <= 0.005


def test_the_hole_rate_is_a_mean_over_draws():
    stats, draws = planted(100), []

    def sample_prior(noise: Tensor) -> Tensor:
        draws.append(noise)
        return noise

    one = measured(stats)
    assert one["hole_rate"] == hole_rate(stats["z"][0], stats["z_prior"])
    assert one["hole_rate_se"].isnan()
    assert one["hole_rate_null"].item() == pytest.approx(null_hole_rate(100))
    quick = measured(stats, sample_prior=sample_prior, quick=True)
    assert len(draws) == 3  # the first draw is that of the images' own noise
    many = measured(stats, sample_prior=sample_prior)
    assert len(draws) > 3 + 7
    assert many["hole_rate_se"] <= 0.005
    assert abs(many["hole_rate"] - quick["hole_rate"]) < 0.15
    assert torch.equal(draws[0], draws[3])  # of the split and the draw alone
    measured(stats, sample_prior=sample_prior, quick=True, split="test")
    assert not torch.equal(draws[-3], draws[0])


def test_reset_forgets_the_model():
    metric = AggregatePosterior()
    stats = planted(30)
    metric.update(**stats, training_posteriors=lambda count: 1 / 0, sample_prior=lambda noise: 1 / 0)
    metric.reset()
    metric.update(**stats)
    assert metric.compute()["aggregate_posteriors"] == 29
