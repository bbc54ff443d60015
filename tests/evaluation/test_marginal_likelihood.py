"""log p(x) against truth: of a linear model, and of small ones whose z can be integrated out."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from builders import ae, elbo_terms, random, vae
from support.chance import SIGMAS
from vaelab.evaluation.marginal_likelihood import Annealing, annealed_estimate, importance_estimate, simulate
from vaelab.evaluation.trained_run import NotApplicable
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.codebooks import Codebook
from vaelab.models.conditions import LabelCondition
from vaelab.models.ladder import Ladder
from vaelab.models.likelihoods import (
    Bernoulli,
    DiscretizedLogistic,
    Gaussian,
    Laplace,
    LearnedGaussian,
    Likelihood,
)
from vaelab.models.networks import linear, mlp
from vaelab.models.objectives import Objective
from vaelab.models.posteriors import Deterministic, DiagonalGaussian, FullCovariance, Posterior
from vaelab.models.priors import FlowPrior, MixtureOfGaussians, Prior, StandardNormal, UniformCodes, VampPrior
from vaelab.types import Noise

LATENT, SHAPE, SIGMA = 2, (1, 2, 3), 0.8
PIXELS = math.prod(SHAPE)
SETTINGS = Annealing(chains=12, steps=80, leapfrog_steps=5, pilot_chains=2)


# a linear-Gaussian model: x = W z + c + noise


def linear_model(exact: bool = False) -> Autoencoder:
    """Random weights; ``exact``: q(z|x) is p(z|x), a Gaussian whose covariance is not diagonal."""
    posterior = (FullCovariance if exact else DiagonalGaussian)(LATENT)
    encoder, decoder = linear(SHAPE, LATENT, posterior.parameter_count, 1)
    model = Autoencoder(
        encoder, decoder, posterior, StandardNormal(), Gaussian(SIGMA), Objective(elbo_terms())
    )
    model = model.double().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.copy_(0.5 * torch.randn(parameter.shape, generator=random(3), dtype=torch.float64))
    inner, outer = model.encoder[-1], affine(model)
    if exact:
        precision = torch.eye(LATENT) + outer.weight.T @ outer.weight / SIGMA**2
        covariance = precision.inverse()
        tril = torch.linalg.cholesky(covariance)
        inner.weight.zero_()
        inner.weight[:LATENT] = covariance @ outer.weight.T / SIGMA**2
        inner.bias[:LATENT] = -inner.weight[:LATENT] @ outer.bias
        inner.bias[LATENT : 2 * LATENT] = 2 * tril.diagonal().log()
        inner.bias[2 * LATENT :] = tril[1, 0]
    else:
        widen(inner)

    return model


@torch.no_grad()
def widen(layer: nn.Linear) -> None:
    """The encoder's last layer such that q(z|x) is wider than the prior: no weight w_k is very large."""
    layer.weight[:LATENT] *= 0.3
    layer.weight[LATENT:] = 0.0
    layer.bias[LATENT:] = 0.0
    layer.bias[LATENT : 2 * LATENT] = 0.4


def affine(model: Autoencoder) -> nn.Linear:
    return next(part for part in model.decoder if isinstance(part, nn.Linear))


def evidence(model: Autoencoder, x: Tensor) -> Tensor:
    """log N(x; c, W W' + SIGMA^2 I)."""
    layer = affine(model)
    covariance = layer.weight @ layer.weight.T + SIGMA**2 * torch.eye(PIXELS)
    return MultivariateNormal(layer.bias, covariance).log_prob(x.flatten(1))


def data(number: int) -> Tensor:
    return torch.randn(number, *SHAPE, generator=random(1), dtype=torch.float64)


def test_the_importance_bound_grows_with_k_to_the_evidence():
    model, x = linear_model(), data(40)
    exact = evidence(model, x)
    bounds = [importance_estimate(model, x, samples=k).bound for k in (1, 4, 16, 10_000)]
    means = [bound.mean().item() for bound in bounds]
    assert means == sorted(means)
    assert means[0] < exact.mean() - 0.5
    assert bounds[-1].mean().item() == pytest.approx(exact.mean().item(), abs=0.02)
    assert (bounds[-1] - exact).abs().max() < 0.2


def test_with_the_exact_posterior_every_sample_tells_log_p():
    model, x = linear_model(exact=True), data(7)
    found = importance_estimate(model, x, samples=3)
    torch.testing.assert_close(found.bound, evidence(model, x))
    torch.testing.assert_close(found.elbo, evidence(model, x))
    torch.testing.assert_close(found.effective, torch.full((7,), 3.0).double())


def test_the_elbo_beside_the_bound_is_that_of_the_forward_pass():
    model, x = linear_model(), data(30)
    found = importance_estimate(model, x, samples=4000)
    noise = torch.randn(4000, 30, LATENT, generator=random(2), dtype=torch.float64)
    stats = model(x, Noise(noise, noise[0])).stats
    spread = (stats.log_p - stats.distortion - stats.log_q).std(0)
    elbo = -(stats.rate + stats.distortion.mean(0))
    assert ((found.elbo - elbo).abs() < 6 * spread / 4000**0.5).all()
    assert (found.elbo <= found.bound).all()


def test_the_effective_number_of_samples():
    model, x = linear_model(), data(3)
    found = importance_estimate(model, x, samples=2)
    a, b = found.bound, found.elbo  # of two weights the mean and the geometric mean tell all
    share = (1 - (2 * (b - a)).exp()).sqrt()
    torch.testing.assert_close(found.effective, 2 / (1 + share.square()))


@pytest.mark.slow
def test_annealing_on_the_models_own_images():
    """Lower bound, evidence and upper bound in this order, within 0.02 nats."""
    model = linear_model()
    made = simulate(model, 80, SHAPE)
    exact = evidence(model, made.x)
    for start in ("prior", "posterior"):
        settings = Annealing(chains=16, steps=120, leapfrog_steps=4, pilot_chains=2, start=start)
        found = annealed_estimate(model, made.x, annealing=settings, exact=made.z)
        for slack in (exact - found.lower, found.upper - exact):
            assert abs(slack.mean()) < 0.02
            assert slack.mean() >= -SIGMAS * slack.std() / 80**0.5
        assert (found.acceptance - 0.65).abs().max() < 0.15


def test_between_the_exact_posterior_and_itself_there_is_no_way_to_go():
    """The path from q(z|x) = p(z|x) has the ratio p(x) everywhere, so any annealing is exact."""
    model = linear_model(exact=True)
    made = simulate(model, 5, SHAPE)
    settings = Annealing(chains=2, steps=3, leapfrog_steps=2, pilot_chains=1, start="posterior")
    found = annealed_estimate(model, made.x, annealing=settings, exact=made.z)
    torch.testing.assert_close(found.lower, evidence(model, made.x))
    torch.testing.assert_close(found.upper, evidence(model, made.x))


def test_simulated_pairs_have_the_joint_distribution():
    model, number = linear_model(), 20_000
    made = simulate(model, number, SHAPE)
    layer = affine(model)
    joint = torch.cat([made.z, made.x.flatten(1)], dim=1)
    mean = torch.cat([torch.zeros(LATENT), layer.bias])
    to_all = torch.cat([torch.eye(LATENT), layer.weight])
    covariance = to_all @ to_all.T
    covariance[LATENT:, LATENT:] += SIGMA**2 * torch.eye(PIXELS)
    delta = joint - mean
    variance = covariance.diagonal()
    assert (delta.mean(0).abs() <= SIGMAS * (variance / number).sqrt()).all()
    error = ((variance[:, None] * variance + covariance.square()) / number).sqrt()
    assert ((delta.T @ delta / number - covariance).abs() <= SIGMAS * error).all()
    assert torch.equal(simulate(model, 50, SHAPE).x, made.x[:50])
    assert not torch.equal(simulate(model, 50, SHAPE, seed=1).x, made.x[:50])


# how the work is cut


def test_the_importance_bound_does_not_depend_on_the_cut():
    model, x = linear_model(), data(70)
    whole = importance_estimate(model, x, samples=23)
    for batch, chunk in ((70, 23), (9, 5), (1, 22), (64, 1)):
        for one, other in zip(importance_estimate(model, x, None, 23, batch, chunk), whole, strict=True):
            torch.testing.assert_close(one, other)
    alone = importance_estimate(model, x[:11], samples=23).bound
    torch.testing.assert_close(alone, whole.bound[:11])
    assert not torch.allclose(importance_estimate(model, x, samples=23, seed=1).bound, whole.bound)


def test_annealing_does_not_depend_on_the_cut():
    model = linear_model()
    made = simulate(model, 11, SHAPE)
    settings = Annealing(chains=3, steps=6, leapfrog_steps=3, pilot_chains=2)
    whole = annealed_estimate(model, made.x, None, settings, made.z)
    for batch in (1, 4):
        cut = annealed_estimate(model, made.x, None, settings, made.z, batch)
        for one, other in zip(cut, whole, strict=True):
            torch.testing.assert_close(one, other)
    assert not torch.allclose(annealed_estimate(model, made.x, None, settings, seed=1).lower, whole.lower)


# any prior, posterior and likelihood: z is integrated out on a grid


def model_of(
    prior: Prior | None = None,
    likelihood: Likelihood | None = None,
    posterior: Posterior | None = None,
    classes: int = 0,
) -> Autoencoder:
    """Two latent dimensions and one hidden layer, in double precision."""
    posterior = posterior or DiagonalGaussian(LATENT)
    likelihood = likelihood or Bernoulli()
    condition = LabelCondition(classes) if classes else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        encoder, decoder = mlp(
            (1 + classes, *SHAPE[1:]),
            LATENT + classes,
            posterior.parameter_count,
            likelihood.parameters_per_channel,
            (8,),
        )
    if "density" in posterior.provides:
        widen(encoder[-1])
    with torch.no_grad():
        decoder[0].weight[:, LATENT:] *= 4  # the label matters
    objective = Objective({"distortion": elbo_terms()["distortion"]})
    model = Autoencoder(
        encoder, decoder, posterior, prior or StandardNormal(), likelihood, objective, condition
    )
    return model.double().eval()  # its parameters do ask for gradients: nothing here may give them any


@torch.no_grad()
def integrated(model: Autoencoder, x: Tensor, y: Tensor | None = None) -> Tensor:
    """log p(x) by the sum of p(z) p(x|z) over a grid, (N,): of smooth densities exact to many digits."""
    line = torch.linspace(-7, 7, 141, dtype=torch.float64)
    z = torch.cartesian_prod(line, line)[:, None, :]
    log_p = model.prior.bind(model.posterior, model.posterior_parameters).log_prob(z)
    assert log_p.exp().sum().item() * 0.01 == pytest.approx(1, abs=2e-3)
    return (log_p + model.log_likelihood(x, z.expand(-1, len(x), -1), y)).logsumexp(0) + math.log(0.01)


def ladder() -> Ladder:
    """A hierarchy of two single dimensions, whose prior is curved."""
    posterior = Ladder(LATENT, (1, 1), width=4)
    with torch.no_grad():
        for weight in posterior.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=random(5)))
    return posterior


def seeded(make, *arguments):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return make(*arguments)


MODELS = {
    "plain": model_of,
    "mixture": lambda: model_of(seeded(MixtureOfGaussians, LATENT, 4)),
    "vamp": lambda: model_of(seeded(VampPrior, SHAPE, 4)),
    "vamp_full": lambda: model_of(seeded(VampPrior, SHAPE, 3), posterior=FullCovariance(LATENT)),
    "flow": lambda: model_of(seeded(FlowPrior, LATENT, 1, (8,))),
    "full": lambda: model_of(posterior=FullCovariance(LATENT)),
    "ladder": lambda: model_of(posterior=ladder()),
    "conditional": lambda: model_of(classes=3),
    "learned_gaussian": lambda: model_of(likelihood=LearnedGaussian(0.9, optimal=True)),
    "discretized_logistic": lambda: model_of(likelihood=DiscretizedLogistic(1.0, per_pixel=True)),
    "laplace": lambda: model_of(likelihood=Laplace(0.7)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model_against_the_integral(name):
    model, y = MODELS[name](), torch.tensor([0, 1, 2]).repeat(4)
    made = simulate(model, 12, SHAPE, y)
    exact = integrated(model, made.x, y)
    bound = importance_estimate(model, made.x, y, samples=3000).bound
    assert abs((bound - exact).mean()) < 0.02
    assert (bound - exact).abs().max() < 0.2
    starts = ("prior", "posterior") if name in ("plain", "vamp_full", "conditional") else ("prior",)
    for start in starts:
        settings = Annealing(chains=16, steps=60, leapfrog_steps=4, pilot_chains=2, start=start)
        found = annealed_estimate(model, made.x, y, settings, made.z)
        for slack in (exact - found.lower, found.upper - exact):
            assert abs(slack.mean()) < 0.06
            assert slack.mean() >= -SIGMAS * slack.std() / 12**0.5
    assert all(parameter.grad is None for parameter in model.parameters())


def test_labels_matter_to_a_conditional_model():
    model, y = model_of(classes=3), torch.tensor([0, 1, 2]).repeat(10)
    made = simulate(model, 30, SHAPE, y)
    assert torch.equal(made.y, y)
    assert torch.equal(simulate(model, 7, SHAPE).y, torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    assert torch.equal(simulate(model, 5, SHAPE, y[1:3]).y, torch.tensor([1, 2, 1, 2, 1]))
    wrong = importance_estimate(model, made.x, (y + 1) % 3, samples=500).bound
    assert (wrong - integrated(model, made.x, y)).abs().mean() > 0.3
    with pytest.raises(ValueError, match="labels"):
        importance_estimate(model, made.x, samples=2)


def test_a_decoder_with_a_prior_is_enough_for_annealing():
    """A deterministic posterior: log p(x) is that of p(z) and p(x|z) (Wu et al., 2017)."""
    model = model_of(posterior=Deterministic(LATENT))
    made = simulate(model, 20, SHAPE)
    found = annealed_estimate(model, made.x, annealing=SETTINGS, exact=made.z)
    exact = integrated(model, made.x)
    assert abs((found.lower - exact).mean()) < 0.05
    assert abs((found.upper - exact).mean()) < 0.05
    without = annealed_estimate(model, made.x, annealing=SETTINGS)
    torch.testing.assert_close(without.lower, found.lower)
    assert without.upper.isnan().all()


# what is undefined


def test_annealing_is_refused_where_there_is_no_density_to_anneal_from():
    x = torch.rand(2, 1, 4, 4, generator=random())
    vamp = model_of(VampPrior(SHAPE, 3), posterior=Deterministic(LATENT))
    with pytest.raises(NotApplicable, match="deterministic"):
        annealed_estimate(vamp, data(2))
    codes = model_of(UniformCodes(), posterior=Codebook(LATENT, 4, 1, decay=0.9))
    with pytest.raises(NotApplicable, match="over codes"):
        annealed_estimate(codes, data(2))
    for deterministic, images in ((codes, data(2)), (ae().eval(), x)):
        with pytest.raises(NotApplicable, match="deterministic"):
            importance_estimate(deterministic, images)


def test_a_model_in_training_mode_is_refused():
    model = vae().train()
    for estimate in (importance_estimate, annealed_estimate):
        with pytest.raises(ValueError, match=r"model\.eval\(\)"):
            estimate(model, torch.rand(2, 1, 4, 4, generator=random()))
