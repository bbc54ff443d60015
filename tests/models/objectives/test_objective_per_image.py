"""What is minimised, image by image: the number by which the best weights are chosen."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy.special import logsumexp

import vaelab.models
from builders import ae, elbo_terms, images, latent_stats, random, vae
from vaelab.models.codebooks import CodebookParameters
from vaelab.models.objectives import (
    KL,
    MMD,
    Capacity,
    CodebookLoss,
    Commitment,
    Constrained,
    CovariancePenalty,
    DecoderL2,
    Distortion,
    FactorTotalCorrelation,
    FreeBits,
    GroupKL,
    ImportanceBound,
    LatentL2,
    Objective,
    StructuralSimilarity,
    Term,
    TotalCorrelation,
    WeightCombination,
)
from vaelab.models.schedules import CyclicSchedule, PiecewiseSchedule, RampSchedule, set_total_steps
from vaelab.types import LatentStats

# every term, once for each value of its settings that changes how it is computed
TERMS: list[Callable[[], Term]] = [
    Distortion,
    KL,
    lambda: ImportanceBound(1.0),
    lambda: LatentL2(1.0),
    lambda: DecoderL2(1.0, vae().decoder),
    CodebookLoss,
    Commitment,
    lambda: FreeBits(1.0),
    lambda: GroupKL([1, 3]),
    lambda: GroupKL([1, 3], group_beta=[0.5, 2.0]),
    lambda: GroupKL([1, 3], free_bits=[part.sum(-1).mean().item() for part in stats().kl.split([1, 3], -1)]),
    lambda: Capacity(stats().rate.mean().item()),
    lambda: Constrained("rate", 4.0),
    lambda: Constrained("distortion", 40.0),
    lambda: MMD(1.0),
    lambda: TotalCorrelation(2.0, 100),
    lambda: TotalCorrelation(2.0, 100, "mss"),
    lambda: FactorTotalCorrelation(1.0, 4, {"width": 8, "depth": 2}),
    lambda: StructuralSimilarity((1, 12, 12)),
    lambda: CovariancePenalty(1.0, "i", "diagonal"),
    lambda: CovariancePenalty(1.0, "ii", "off_diagonal"),
]


def stats(images: int = 12, samples: int = 3) -> LatentStats:
    plain = latent_stats(images, samples=samples)
    encoded = torch.randn(images, 4, generator=random(7))
    codes = torch.zeros(images, 2, dtype=torch.long)
    q = CodebookParameters(plain.loc, plain.scale, plain.scale, encoded, codes, plain.loc[:, None])
    x = torch.rand(images, 1, 12, 12, generator=random(8))
    reconstruction = torch.rand(samples, images, 1, 12, 12, generator=random(9))
    return plain.replace(q=q, x=x, reconstruction=reconstruction)


def part(whole: LatentStats, rows: slice) -> LatentStats:
    """The same statistics of some of the images alone."""
    first = ("rate", "kl", "loc", "scale", "z_prior", "x")
    chosen = {name: getattr(whole, name)[rows] for name in first}
    second = ("distortion", "z", "log_q", "log_p", "reconstruction")
    chosen |= {name: getattr(whole, name)[:, rows] for name in second}
    return whole.replace(**chosen, q=type(whole.q)._make(value[rows] for value in whole.q))


def loss(term: Term, of: LatentStats) -> float:
    return term.loss_value(term(of, 0).mean(), of, 0).item()


def test_every_term_is_among_these():
    public = {getattr(vaelab.models, name) for name in vaelab.models.__all__}
    terms = {c for c in public if isinstance(c, type) and issubclass(c, Term) and c is not Term}
    assert terms == {type(make()) for make in TERMS}


@pytest.mark.parametrize("make", [make for make in TERMS if make().per_image])
def test_a_term_per_image_is_the_mean_of_its_value_in_parts_of_the_batch(make):
    term, whole = make(), stats()
    parts = [loss(term, part(whole, slice(start, stop))) for start, stop in ((0, 1), (1, 5), (5, 12))]
    assert loss(term, whole) == pytest.approx((parts[0] + 4 * parts[1] + 7 * parts[2]) / 12, rel=1e-5)
    assert loss(term, whole) == pytest.approx(term(whole, 0).mean().item(), rel=1e-6)  # what is reported
    assert Objective({"a": term}).per_image(whole).mean().item() == pytest.approx(loss(term, whole), rel=1e-5)


# a quantity that a multiplier draws to a target, and one that a discriminator tells, move during training
BY_TIME = (Constrained, FactorTotalCorrelation)


@pytest.mark.parametrize(
    "make", [make for make in TERMS if not (make().per_image or isinstance(make(), BY_TIME))]
)
def test_a_statistic_of_the_batch_is_not(make):
    term, whole = make(), stats()
    halves = [loss(term, part(whole, rows)) for rows in (slice(0, 6), slice(6, 12))]
    assert loss(term, whole) != pytest.approx(sum(halves) / 2, rel=1e-3)


@pytest.mark.parametrize("make", [make for make in TERMS if not make().per_image])
def test_without_a_value_per_image_it_is_undefined_and_the_term_is_named(make):
    objective = Objective({**elbo_terms(), "a": make()})
    assert objective.batch_terms == ["a"]
    assert objective.per_image(stats()).isnan().all()
    assert objective.per_image(stats()).shape == (12,)


def test_the_sum_of_weight_times_term_for_each_image():
    model = ae()
    decoder = DecoderL2(0.25, model.decoder)
    objective = Objective({"d": Distortion(), "kl": KL(4.0), "latent": LatentL2(0.5), "decoder": decoder})
    of = stats()
    assert objective.batch_terms == []
    weights = sum((p.detach().numpy() ** 2).sum() for p in model.decoder.parameters())
    z = of.z.double().numpy()
    expected = of.distortion.double().numpy().mean(0) + 4 * of.rate.double().numpy()
    expected += 0.5 * 0.5 * (z**2).sum(-1).mean(0) + 0.25 * weights
    assert objective.per_image(of).tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_minus_the_bound_and_not_the_surrogate_of_its_gradient():
    of = stats()
    log_w = (of.log_p - of.distortion - of.log_q).double().numpy()
    bound = logsumexp(log_w, axis=0) - math.log(3)
    for gradient in ("standard", "dreg"):
        found = Objective({"bound": ImportanceBound(1.0, gradient)}).per_image(of)
        assert found.tolist() == pytest.approx((-bound).tolist(), rel=1e-5)


SCHEDULES = [
    lambda unit: RampSchedule(3.0, start=0.5, end=1 if unit == "share" else 100, unit=unit),
    lambda unit: RampSchedule(3.0, end=0.3 if unit == "share" else 7, unit=unit, shape="cosine"),
    lambda unit: RampSchedule(3.0, end=9.0, unit=unit, shape="sigmoid"),  # after the end of the training
    lambda unit: RampSchedule(3.0, start=0.1, end=1.0, unit=unit, shape="exponential"),
    lambda unit: CyclicSchedule(3.0, end=1 if unit == "share" else 50, unit=unit),
    lambda unit: PiecewiseSchedule([0.0, 0.4, 0.4, 0.8], [0.0, 1.0, 5.0, 3.0], unit=unit),
    lambda unit: WeightCombination(-1.0, plus=[RampSchedule(5.0, end=1.0, unit=unit)], minus=[1.0]),
]


@pytest.mark.parametrize("total", [10, 1e9, math.inf])
@pytest.mark.parametrize("make", SCHEDULES)
def test_schedules_count_with_their_end_points(make, total):
    unit = "steps" if total == math.inf else "share"
    objective, of = Objective(elbo_terms(make(unit))), stats()
    set_total_steps(objective, total)
    expected = of.distortion.mean(0) + 3 * of.rate
    torch.testing.assert_close(objective.per_image(of), expected)


def test_it_is_the_loss_of_the_last_step():
    model = vae(terms=elbo_terms(RampSchedule(3.0)))
    set_total_steps(model, 100)
    output = model(images(9), model.draw_noise(9, random(), samples=2), 100)
    found = model.objective.per_image(output.stats).mean()
    torch.testing.assert_close(found, output.loss)
    assert found.item() != pytest.approx(model(images(9), model.draw_noise(9, random()), 0).loss.item())
