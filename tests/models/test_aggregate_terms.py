"""Terms on the aggregate posterior (TC, DIP, MMD) and RAE's penalties, against numpy and closed forms."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch import nn

from builders import ae, elbo_terms, images, latent_stats, random, vae
from support.chance import SIGMAS
from support.stacking import assert_stacked_as_alone
from vaelab.models.objectives import (
    MMD,
    CovariancePenalty,
    DecoderL2,
    FactorTotalCorrelation,
    ImportanceBound,
    LatentL2,
    TotalCorrelation,
    WeightCombination,
)
from vaelab.models.objectives.total_correlation import permute_dimensions
from vaelab.models.posteriors import FullCovariance
from vaelab.models.priors import StandardNormal
from vaelab.models.requirements import Misfit, check_needs
from vaelab.models.schedules import RampSchedule
from vaelab.training.module import parameter_groups
from vaelab.types import LatentStats

SMALL = {"width": 16, "depth": 2}


def correlated(number: int, rho: float, seed: int = 0, s: float = 0.3) -> LatentStats:
    """q(z) is a Gaussian pair with variances 1 and correlation rho, q(z|x) has scale s."""
    rng = np.random.default_rng(seed)
    covariance = np.array([[1.0, rho], [rho, 1.0]])
    loc = torch.tensor(rng.multivariate_normal([0, 0], covariance - s**2 * np.eye(2), size=number)).float()
    scale = torch.full_like(loc, s)
    z = loc + scale * torch.randn(loc.shape, generator=random(seed))
    return latent_stats(number, 2).replace(
        loc=loc, scale=scale, z=z[None], z_prior=torch.randn(loc.shape, generator=random(seed + 1))
    )


# weights


def test_a_combination_is_the_sum_with_its_signs():
    ramp = RampSchedule(stop=4.0, end=10, unit="steps")
    assert WeightCombination(-1.0, plus=[3.0, ramp], minus=[0.5])(5).item() == pytest.approx(-1 + 3 + 2 - 0.5)


# beta-TC


@pytest.mark.parametrize("estimator", ["mss", "mws"])
def test_beta_tc_adds_beta_minus_one_times_the_total_correlation(estimator):
    rho, number = 0.8, 1500
    stats = correlated(number, rho)
    term = TotalCorrelation(beta=6.0, dataset_size=number, estimator=estimator)
    # 0.51 nats; the constant of mws, (D - 1) log N = 7.3, is left out
    assert term(stats, 0).item() == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.06)
    assert term.weight(0).item() == 5.0


@pytest.mark.parametrize(("number", "seed"), [(1, 0), (7, 1), (40, 2)])
def test_mws_is_the_total_correlation_of_the_mixture_of_the_batch(number, seed):
    """Whatever N: for the mixture of B posteriors it is from 0 to (D - 1) log B in expectation."""
    stats = latent_stats(number, 3, samples=2, seed=seed)
    z, loc, scale = (part.double().numpy() for part in (stats.z, stats.loc, stats.scale))
    log_density = norm.logpdf(z[:, :, None], loc, scale)  # (S, B, B, D)
    joint = logsumexp(log_density.sum(-1), axis=-1) - math.log(number)
    marginals = (logsumexp(log_density, axis=-2) - math.log(number)).sum(-1)
    for dataset_size in (1000, 10):  # fewer than the batch: the N of a held-out batch is at least B
        found = TotalCorrelation(2.0, dataset_size)(stats, 0).item()
        assert found == pytest.approx((joint - marginals).mean(), abs=1e-4)


def test_mws_of_apart_posteriors_is_the_log_of_the_batch_and_not_of_the_training_set():
    loc = torch.arange(20.0)[:, None] * torch.tensor([100.0, 100.0, 100.0])
    stats = latent_stats(20, 3).replace(loc=loc, scale=torch.ones(20, 3), z=loc[None])
    found = TotalCorrelation(2.0, dataset_size=1237)(stats, 0).item()
    assert found == pytest.approx(2 * math.log(20), abs=1e-3)  # (D - 1) log B; that of q(z) is (D - 1) log N


def test_a_batch_larger_than_the_training_set_can_be_measured():
    stats = correlated(60, 0.5)
    expected = TotalCorrelation(2.0, 60, "mss")(stats, 0)
    torch.testing.assert_close(TotalCorrelation(2.0, 10, "mss")(stats, 0), expected)


@pytest.mark.parametrize(
    ("term", "refused"),
    [
        (TotalCorrelation(2.0, 10), True),
        (CovariancePenalty(1.0, "ii", "off_diagonal"), True),
        (CovariancePenalty(1.0, "i", "off_diagonal"), False),
        (MMD(1.0), False),
    ],
)
def test_a_correlated_posterior_is_refused_where_it_would_be_wrong(term, refused):
    expected = pytest.raises(Misfit, match=r"objective\.a needs a posterior with independent dimensions")
    with expected if refused else nullcontext():
        check_needs({"posterior": FullCovariance(3), "prior": StandardNormal(), "objective.a": term})


# FactorVAE


def test_permuted_dimensions_keep_their_values_and_lose_their_company():
    z = torch.stack([torch.arange(2000.0)] * 3, dim=1)  # all dimensions the same
    permuted = permute_dimensions(z[None], torch.randn(2000, 3, generator=random()))[0]
    assert torch.equal(permuted.sort(0).values, z)
    assert (torch.corrcoef(permuted.T) - torch.eye(3)).abs().max() < SIGMAS / 2000**0.5
    assert abs(torch.corrcoef(torch.stack([permuted[:, 0], z[:, 0]]))[0, 1]) < SIGMAS / 2000**0.5


def test_a_trained_discriminator_tells_the_total_correlation():
    rho = 0.7
    torch.manual_seed(0)
    term = FactorTotalCorrelation(1.0, latent_dim=2, discriminator={"width": 64, "depth": 2})
    optimizer = torch.optim.Adam(term.parameters(), lr=3e-3)
    for step in range(600):
        stats = correlated(512, rho, seed=step)
        loss = term.auxiliary_loss(stats, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = term(correlated(20_000, rho, seed=1000), 0).mean().item()
    assert found == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.06)  # 0.34 nats


def test_each_side_gets_its_own_gradient_and_no_other():
    gamma = 7.0
    model = vae(terms={"tc": FactorTotalCorrelation(gamma, 3, SMALL)})
    term, x = model.objective.terms["tc"], images(8)
    noise = model.draw_noise(8, random())
    output = model(x, noise)
    torch.testing.assert_close(output.loss, gamma * output.terms["tc"])  # the auxiliary loss has no value
    stats = output.stats
    encoder, discriminator = list(model.encoder.parameters()), list(term.discriminator.parameters())
    both = torch.autograd.grad(output.loss, encoder + discriminator, retain_graph=True)

    logits = term.discriminator(stats.z)
    for found, expected in zip(
        both, torch.autograd.grad(gamma * logits.mean(), encoder, retain_graph=True), strict=False
    ):
        torch.testing.assert_close(found, expected)
    z = stats.z[0].detach()
    order = stats.z_prior[4:].argsort(0)
    permuted = torch.stack([z[4:][order[:, d], d] for d in range(3)], dim=1)
    entropy = nn.functional.binary_cross_entropy_with_logits
    entropy_loss = 0.5 * entropy(term.discriminator(z[:4]), torch.ones(4, 1))
    entropy_loss = entropy_loss + 0.5 * entropy(term.discriminator(permuted), torch.zeros(4, 1))
    expected = torch.autograd.grad(entropy_loss, discriminator)
    for found, wanted in zip(both[len(encoder) :], expected, strict=True):
        torch.testing.assert_close(found, wanted)  # without gamma


def test_the_discriminator_has_the_papers_size_and_optimizer():
    model = vae(latent_dim=10, terms={**elbo_terms(), "tc": FactorTotalCorrelation(10.0, 10)})
    term = model.objective.terms["tc"]
    shapes = [tuple(part.weight.shape) for part in term.discriminator if isinstance(part, nn.Linear)]
    assert shapes == [(1000, 10)] + [(1000, 1000)] * 5 + [(1, 1000)]
    assert {part.negative_slope for part in term.discriminator if isinstance(part, nn.LeakyReLU)} == {0.2}
    rest, own = torch.optim.Adam(parameter_groups(model), lr=1e-3).param_groups
    assert (rest["lr"], rest["betas"]) == (1e-3, (0.9, 0.999))
    assert (own["lr"], own["betas"]) == (1e-4, (0.5, 0.9))
    assert {id(p) for p in own["params"]} == {id(p) for p in term.discriminator.parameters()}


# DIP


@pytest.mark.parametrize("kind", ["i", "ii"])
def test_dip_is_that_of_numpys_covariance(kind):
    stats = latent_stats(9)
    c = np.cov(stats.loc.double().numpy().T, ddof=0)
    if kind == "ii":
        c = c + np.diag((stats.scale.double().numpy() ** 2).mean(0))
    off = sum(c[i, j] ** 2 for i in range(4) for j in range(4) if i != j)
    on = sum((c[i, i] - 1) ** 2 for i in range(4))
    assert CovariancePenalty(1.0, kind, "off_diagonal")(stats, 0).item() == pytest.approx(off, rel=1e-5)
    assert CovariancePenalty(1.0, kind, "diagonal")(stats, 0).item() == pytest.approx(on, rel=1e-5)


def test_dip_ii_is_the_covariance_of_the_samples():
    stats = correlated(20_000, 0.6)
    c = np.cov(stats.z[0].T)
    off = CovariancePenalty(1.0, "ii", "off_diagonal")(stats, 0).item()
    assert off == pytest.approx(2 * c[0, 1] ** 2, abs=0.02)
    for kind, expected in (("ii", 0.0), ("i", 2 * 0.09**2)):
        found = CovariancePenalty(1.0, kind, "diagonal")(stats, 0).item()
        assert found == pytest.approx(expected, abs=0.005)


# MMD


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_the_mmd_term_is_the_double_sum(kernel):
    stats, scales = latent_stats(6, samples=2), (0.5, 2.0)

    def k(u, v):
        squares = ((u - v) ** 2).sum()
        if kernel == "rbf":
            return sum(math.exp(-squares / (2 * 4 * s)) for s in scales)
        return sum(2 * 4 * s / (2 * 4 * s + squares) for s in scales)

    expected = []
    prior = stats.z_prior.numpy()
    for z in stats.z.numpy():
        pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
        within = [np.mean([k(a[i], a[j]) for i, j in pairs]) for a in (z, prior)]
        expected.append(sum(within) - 2 * np.mean([k(u, v) for u in z for v in prior]))
    found = MMD(1.0, kernel, scales)(stats, 0).item()
    assert found == pytest.approx(np.mean(expected), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TotalCorrelation(2.0, 10, estimator="full"), "estimator must be mws or mss, got full"),
        (lambda: CovariancePenalty(1.0, "3", "diagonal"), "kind must be i or ii, got 3"),
        (lambda: CovariancePenalty(1.0, "i", "all"), "entries must be diagonal or off_diagonal, got all"),
        (lambda: MMD(1.0, kernel="gauss"), "kernel must be rbf or imq, got gauss"),
        (lambda: MMD(1.0, scales=[0.0]), "scales must be numbers > 0"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# RAE


def test_the_penalties_of_a_regularized_autoencoder():
    model = ae()
    model.objective.terms["latent"] = LatentL2(0.5)
    model.objective.terms["decoder"] = DecoderL2(0.25, model.decoder)
    output = model(images(5), model.draw_noise(5, random()))
    latent = 0.5 * (output.stats.loc.detach().numpy() ** 2).sum(1).mean()
    weights = sum((p.detach().numpy() ** 2).sum() for p in model.decoder.parameters())
    assert output.terms["latent"].item() == pytest.approx(latent, rel=1e-5)
    assert output.terms["decoder"].item() == pytest.approx(weights, rel=1e-5)
    expected = output.terms["distortion"].item() + 0.5 * latent + 0.25 * weights
    assert output.loss.item() == pytest.approx(expected, rel=1e-5)
    inner = torch.autograd.grad(output.terms["decoder"], list(model.decoder.parameters()))
    for gradient, parameter in zip(inner, model.decoder.parameters(), strict=True):
        torch.testing.assert_close(gradient, 2 * parameter.detach())
    assert not [name for name in model.state_dict() if name.startswith("objective")]


# all of them


def every_term(model_decoder: nn.Module, weight: float) -> dict[str, nn.Module]:
    return {
        **elbo_terms(),
        "tc": TotalCorrelation(weight, 50),
        "mss": TotalCorrelation(weight, 50, "mss"),
        "factor": FactorTotalCorrelation(weight, 3, SMALL),
        "off": CovariancePenalty(weight, "ii", "off_diagonal"),
        "on": CovariancePenalty(weight, "i", "diagonal"),
        "mmd": MMD(weight),
        "rbf": MMD(WeightCombination(1.0, minus=[weight]), "rbf", [1.0]),
        "latent": LatentL2(weight),
        "decoder": DecoderL2(weight, model_decoder),
        "importance": ImportanceBound(weight),
    }


def test_a_batch_of_one_image_trains():
    """The last batch of an epoch may be that small."""
    model = vae()
    model.objective.terms.update(every_term(model.decoder, 2.0))
    output = model(images(1), model.draw_noise(1, random(), samples=2))
    assert all(value.isfinite() for value in output.terms.values())
    gradients = torch.autograd.grad(
        output.loss, list(model.parameters()), allow_unused=True, materialize_grads=True
    )
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("gradient", ["standard", "dreg"])
def test_stacked_models_are_the_models_one_by_one(gradient):
    models = []
    for k, weight in enumerate((0.5, 3.0)):
        if gradient == "standard":
            torch.manual_seed(k)
            model = vae(seed=k)
            model.objective.terms.update(every_term(model.decoder, weight))
        else:
            model = vae(seed=k, terms={"importance": ImportanceBound(weight, "dreg")})
        models.append(model)
    noises = [model.draw_noise(6, random(k), samples=3) for k, model in enumerate(models)]
    assert_stacked_as_alone(models, images(6), noises, step=2, tolerance=1e-3)
