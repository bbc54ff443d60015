"""The decoder test against a linear decoder's closed form."""

import math

import pytest
import torch
from torch import Tensor

from builders import random
from support.chance import SIGMAS
from vaelab.metrics import DecoderTest

W = torch.tensor([[1.0, 0.0], [0.5, 2.0], [0.0, 1.0]])
VARIANCE = 0.5


def distortion(x: Tensor, z: Tensor) -> Tensor:
    """-log N(x; W z, VARIANCE) up to a constant."""
    return (x - z @ W.T).square().sum(-1) / (2 * VARIANCE)


def measured(
    x: Tensor, z: Tensor, z_prior: Tensor, sizes: list[int], images: int = 10**4, weight: float = 1.0
):
    metric = DecoderTest(images)
    start = 0
    for size in sizes:
        part = slice(start, start + size)
        metric.update(
            position=torch.arange(len(x))[part],
            z=z[None, part],
            z_prior=z_prior[part],
            distortion=distortion(x[part], weight * z[part])[None],
            distortion_of=lambda other, rows, part=part: distortion(x[part][rows], weight * other),
        )
        start += size
    return {name: value.item() for name, value in metric.compute().items()}


def data(number: int) -> tuple[Tensor, Tensor, Tensor]:
    z = torch.randn(number, 2, generator=random(0))
    return z @ W.T, z, 2 * torch.randn(number, 2, generator=random(1))


def test_the_gaps_of_a_linear_decoder():
    """x = W z: E |W (z - z')|^2 / 2 s^2 = tr(W (C + C') W^T) / 2 s^2, with C = I, and C' = I or 4 I."""
    found = measured(*data(4000), [1000] * 4)
    each = (W @ W.T).trace().item() / (2 * VARIANCE)
    assert found["shuffle_gap"] == pytest.approx(2 * each, rel=0.06)
    assert found["prior_gap"] == pytest.approx(5 * each, rel=0.06)


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_the_standard_errors_are_the_spread_over_test_sets(weight):
    """300 test sets of 150 images: the relative error of an SD is 1 / sqrt(2 * 299) = 4%.

    A code serves several images. Taken for independent, the differences of the shuffled codes would have an
    error a quarter too small at a weight of 1, the data's own.
    """
    sets = 300
    found = []
    for seed in range(sets):
        z = torch.randn(150, 2, generator=random(seed))
        noise = VARIANCE**0.5 * torch.randn(150, 3, generator=random(sets + seed))
        prior = 2 * torch.randn(150, 2, generator=random(2 * sets + seed))
        metric = DecoderTest()
        metric.choice = torch.rand(2000, generator=random(3 * sets + seed))
        x = z @ W.T + noise
        metric.update(
            torch.arange(150),
            z[None],
            prior,
            distortion(x, weight * z)[None],
            lambda other, rows, x=x: distortion(x[rows], weight * other),
        )
        found.append({name: value.item() for name, value in metric.compute().items()})
    for name in ("shuffle_gap", "prior_gap"):
        gaps = torch.tensor([each[name] for each in found])
        errors = torch.tensor([each[f"{name}_se"] for each in found])
        ratio = (errors.square().mean().sqrt() / gaps.std()).item()
        assert ratio == pytest.approx(1, abs=SIGMAS / math.sqrt(2 * (sets - 1)) + 0.02), name


def test_a_decoder_that_ignores_z_has_no_gap_and_a_lone_image_an_undefined_one():
    assert set(measured(*data(300), [100] * 3, weight=0.0).values()) == {0.0}
    assert all(math.isnan(value) for value in measured(*data(1), [1]).values())
    two = measured(*data(2), [2])
    assert math.isfinite(two["shuffle_gap"])
    assert math.isnan(two["shuffle_gap_se"])


@pytest.mark.parametrize("sizes", [[1] * 301, [7] * 43, [300, 1]])
def test_the_batch_size_does_not_matter(sizes):
    expected = measured(*data(301), [301])
    assert measured(*data(301), sizes) == {name: pytest.approx(v, rel=1e-5) for name, v in expected.items()}


def test_the_first_images_are_used():
    x, z, z_prior = data(301)
    expected = measured(x[:100], z[:100], z_prior[:100], [100])
    found = measured(x, z, z_prior, [64] * 4 + [45], images=100)
    assert found == {name: pytest.approx(value, rel=1e-5) for name, value in expected.items()}


def test_the_other_code_is_never_the_images_own():
    number = 50
    metric, seen = DecoderTest(), []
    code = torch.arange(float(number))[:, None]

    def look(z: Tensor, rows: Tensor) -> Tensor:
        seen.append((rows, z[:, 0]))
        return torch.zeros(len(rows))

    metric.update(torch.arange(number), code[None], code, torch.zeros(1, number), look)
    rows, other = seen[0]
    assert rows.tolist() == list(range(1, number))
    assert (other < rows).all()
    assert len(other.unique()) > 20


def test_reset_forgets_the_codes():
    metric = DecoderTest()
    for _ in range(2):
        x, z, z_prior = data(20)
        metric.update(
            torch.arange(20),
            z[None],
            z_prior,
            distortion(x, z)[None],
            lambda o, rows, x=x: distortion(x[rows], o),
        )
        value = metric.compute()
        metric.reset()
    assert value["shuffle_gap"].item() == pytest.approx(measured(*data(20), [20])["shuffle_gap"], rel=1e-6)
