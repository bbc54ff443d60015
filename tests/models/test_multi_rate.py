"""The multi-rate VAE: gates on log beta, and the ordinary model at one beta."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from builders import elbo_terms, images, random
from vaelab.functional.closed_forms import gaussian_images, linear_beta_vae
from vaelab.models import (
    KL,
    Autoencoder,
    Bernoulli,
    DiagonalGaussian,
    Distortion,
    DrawnBeta,
    FullCovariance,
    Gaussian,
    LabelCondition,
    Objective,
    RateCondition,
    StandardNormal,
    TotalCorrelation,
    VampPrior,
)
from vaelab.models.networks import conv, linear, mlp, resnet
from vaelab.models.networks.gates import Gate, Switches, opening
from vaelab.models.requirements import Misfit
from vaelab.models.schedules import ConstantSchedule
from vaelab.training.learning_rates import LearningRates, parameter_groups
from vaelab.types import Noise

D, SHAPE = 3, (1, 8, 8)
LOW, HIGH = 0.1, 10.0
Y = torch.tensor([0, 2, 1, 1, 0])


def multi_rate(network=mlp, terms=None, inner=None, posterior=DiagonalGaussian, prior=None, **options):
    """A multi-rate VAE whose gates have random weights."""
    torch.manual_seed(0)
    condition = RateCondition(LOW, HIGH, [0.5, 2.0], inner=inner)
    channels, features = SHAPE[0] + condition.channels, D + condition.features
    shape, q = (channels, *SHAPE[1:]), posterior(D)
    options = options or ({} if network is linear else {"hidden": (8, 6)})
    pair = condition.networks(network(shape, features, q.parameter_count, 1, **options), shape, features)
    for gate in (*pair.encoder.modules(), *pair.decoder.modules()):
        if isinstance(gate, Gate | Switches):
            for parameter in gate.parameters(recurse=False):
                nn.init.normal_(parameter, std=0.7)
    objective = Objective(terms or {"distortion": Distortion(), "kl": KL(DrawnBeta())})
    return Autoencoder(*pair, q, prior or StandardNormal(), Bernoulli(), objective, condition)


@pytest.mark.parametrize("network", [mlp, conv, resnet, linear])
def test_the_model_at_a_beta_is_the_model_that_was_trained_for_it(network):
    model, x = multi_rate(network).double(), images(1, SHAPE).double()
    for beta in (0.11, 0.5, 1.0, 3.0, 9.9):
        share = math.log(beta / LOW) / math.log(HIGH / LOW)
        drawn = torch.special.ndtri(torch.tensor([share], dtype=torch.float64))  # of a batch of one image
        noise = Noise._make(part.double() for part in model.draw_noise(1, random())._replace(beta=drawn))
        trained, ordinary = model(x, noise), model.at(beta)(x, noise)
        assert trained.stats.beta.item() == pytest.approx(beta, rel=1e-6)
        for name in ("distortion", "rate", "kl", "loc", "scale", "z"):
            torch.testing.assert_close(
                getattr(ordinary.stats, name), getattr(trained.stats, name), rtol=1e-6, atol=1e-8
            )
        torch.testing.assert_close(ordinary.loss, trained.loss, rtol=1e-6, atol=0)


def test_the_model_at_a_beta_has_the_parts_of_an_ordinary_one_and_the_same_weights():
    model = multi_rate()
    ordinary = model.at(2.0)
    conditional = (Gate, Switches, DrawnBeta, RateCondition)
    assert not any(isinstance(part, conditional) for part in ordinary.modules())
    assert isinstance(ordinary.objective.terms["kl"].weight, ConstantSchedule)
    assert ordinary.objective.terms["kl"].weight(0) == 2.0
    weights = {id(parameter) for parameter in model.parameters()}
    assert list(ordinary.parameters())
    assert all(id(parameter) in weights for parameter in ordinary.parameters())
    assert any(isinstance(part, Gate) for part in model.modules())  # which has not changed
    assert ordinary.at() is ordinary


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_any_precision_of_the_weights_is_that_of_the_model_at_a_beta(dtype):
    model = multi_rate(conv).to(dtype)
    assert model.at(2.0).encode(images(3, SHAPE)).loc.isfinite().all()
    noise = model.draw_noise(3, random())
    noise = Noise._make(part.to(dtype) for part in noise)
    output = model(images(3, SHAPE).to(dtype), noise)
    assert output.stats.z.dtype == dtype
    assert output.loss.isfinite()


def test_labels_reach_both_networks_beside_the_beta():
    model, x = multi_rate(inner=LabelCondition(3)), images(5, SHAPE)
    ordinary = model.at(1.0)
    assert isinstance(ordinary.condition, LabelCondition)
    one, other = (ordinary.encode(x, y).loc for y in (Y, (Y + 1) % 3))
    assert not torch.allclose(one, other)
    z = torch.randn(5, D)
    assert not torch.allclose(model.decode(z, Y, beta=1.0), model.decode(z, (Y + 1) % 3, beta=1.0))
    assert model(x, model.draw_noise(5, random()), y=Y).loss.isfinite()


def test_each_image_pays_for_its_rate_by_its_own_beta():
    model, x = multi_rate(), images(6, SHAPE)
    output = model(x, model.draw_noise(6, random(), samples=2))
    stats = output.stats
    by_hand = (stats.distortion.mean(0) + stats.beta * stats.rate).mean()
    torch.testing.assert_close(output.loss, by_hand)
    torch.testing.assert_close(model.objective.per_image(stats).mean(), by_hand)
    torch.testing.assert_close(output.terms["kl"], stats.rate.mean())


def test_betas_are_log_uniform_and_a_batch_sees_the_whole_range():
    condition = RateCondition(LOW, HIGH, [1.0])
    _, betas = condition.given(None, torch.randn(1000, generator=random()))
    share = (betas / LOW).log() / math.log(HIGH / LOW)
    assert (share >= 0).all()
    assert (share <= 1).all()
    within = share * 1000 - torch.arange(1000)  # stratified: one in each of 1000 equal parts, up to rounding
    assert within.min() > -1e-2
    assert within.max() < 1 + 1e-2


def test_a_statistic_of_the_batch_has_one_beta():
    terms = {"distortion": Distortion(), "kl": KL(), "tc": TotalCorrelation(DrawnBeta(), dataset_size=100)}
    model, x = multi_rate(terms=terms), images(6, SHAPE)
    output = model(x, model.draw_noise(6, random()))
    beta = output.stats.beta
    assert (beta == beta[0]).all()
    by_hand = output.terms["distortion"] + output.terms["kl"] + (beta[0] - 1) * output.terms["tc"]
    torch.testing.assert_close(output.loss, by_hand)
    assert model.at(0.5).objective.terms["tc"].weight(0) == pytest.approx(-0.5)


def test_an_ordinary_model_draws_no_beta_and_is_itself():
    objective = Objective(elbo_terms())
    pair = mlp(SHAPE, D, 2 * D, 1, hidden=(4,))
    model = Autoencoder(*pair, DiagonalGaussian(D), StandardNormal(), Bernoulli(), objective)
    assert model.at() is model
    assert not model.draw_noise(4, random()).beta.numel()
    with pytest.raises(ValueError, match="one beta"):
        model.at(2.0)


def test_a_beta_outside_of_the_training_is_refused():
    with pytest.raises(ValueError, match=r"beta must be from 0.1 to 10, the range of the training, got 11"):
        multi_rate().at(11.0)


@pytest.mark.parametrize("betas", [[], [1.0, 1.0], [0.01], [20.0]])
def test_betas_must_be_different_ones_within_the_range(betas):
    with pytest.raises(ValueError, match=r"betas must be different numbers from 0\.1 to 10"):
        RateCondition(LOW, HIGH, betas)


def test_what_cannot_be_gated_is_refused():
    with pytest.raises(Misfit, match="independent dimensions"):
        multi_rate(posterior=FullCovariance)
    with pytest.raises(Misfit, match="encoder without labels"):
        multi_rate(prior=VampPrior(SHAPE, 2, mean_image=torch.full(SHAPE, 0.5)))


def test_the_default_beta_is_one_or_the_middle_of_the_range():
    assert RateCondition(0.1, 10, [1.0]).default == 1.0
    assert RateCondition(4, 16, [8.0]).default == pytest.approx(8.0)


# the gates


def test_the_opening_has_finite_slopes():
    t = torch.cat([torch.linspace(-12, 1, 500), torch.tensor([0.0, -1e-9, -1e-5])]).requires_grad_()
    value = opening(t)
    exact = (1 - t.detach().double().exp()).clamp(min=0).sqrt()
    assert (value - exact).abs().max() < 0.011  # below STRAIGHT a line
    assert (value[t >= 0] == 0).all()
    (slopes,) = torch.autograd.grad(value.sum(), t)
    assert slopes.isfinite().all()
    assert slopes.abs().max() <= 100.01


def test_gates_have_a_group_of_their_own():
    model = multi_rate()
    groups = parameter_groups(model)
    assert len(groups) == 2
    optimizer = LearningRates().attach(torch.optim.Adam(groups, lr=1e-3, weight_decay=0.1))
    rest, gates = optimizer.param_groups
    assert gates["initial_lr"] == pytest.approx(6e-3)
    assert (rest["initial_lr"], rest["weight_decay"], gates["weight_decay"]) == (1e-3, 0.1, 0.0)
    numbers = sum(p.numel() for p in gates["params"])
    assert numbers == D + 2 * (8 + 6) + 2 * (6 + 8)  # b of each dimension; w and b of each hidden unit


EIGENVALUES = [6.0, 3.0, 1.8, 1.0, 0.35, 0.17] + [0.02] * 3
SIGMA, LATENT = 0.5, 6


def exact_linear() -> Autoencoder:
    """The multi-rate linear VAE with the weights of the closed form."""
    x = gaussian_images(EIGENVALUES, 2000)
    _, axes = np.linalg.eigh(x.T.astype(float) @ x / len(x))
    axes = torch.tensor(axes[:, ::-1][:, :LATENT].copy(), dtype=torch.float32)  # (9, 6)
    variances = torch.tensor(EIGENVALUES[:LATENT])
    shape, condition = (1, 3, 3), RateCondition(0.1, 10, [1.0])
    pair = condition.networks(linear(shape, LATENT, 2 * LATENT, 1), shape, LATENT)
    layers = [part for net in pair for part in net.modules() if isinstance(part, nn.Linear)]
    for parameter in (parameter for layer in layers for parameter in layer.parameters()):
        nn.init.zeros_(parameter)
    with torch.no_grad():
        layers[0].weight[:LATENT] = (axes / variances.sqrt()).T
        layers[1].weight.copy_(axes * variances.sqrt())
        (switches,) = {part for net in pair for part in net.modules() if isinstance(part, Switches)}
        switches.offset.copy_((SIGMA**2 / variances).log())
    objective = Objective({"distortion": Distortion(), "kl": KL(DrawnBeta())})
    return Autoencoder(
        *pair, DiagonalGaussian(LATENT), StandardNormal(), Gaussian(sigma=SIGMA), objective, condition
    )


@pytest.mark.parametrize("beta", [0.1, 0.3, 0.69, 1.0, 1.5, 3.0, 5.0, 10.0])
def test_linear_gates_represent_the_optimum_at_every_beta(beta):
    x = torch.tensor(gaussian_images(EIGENVALUES, 2000)).reshape(-1, 1, 3, 3)
    model = exact_linear().at(beta)
    exact = linear_beta_vae(EIGENVALUES, SIGMA, beta, LATENT)
    stats = model(x, model.draw_noise(len(x), random(), samples=40)).stats
    active = sorted(exact.kl_per_dim, reverse=True)
    found = stats.kl.mean(0).sort(descending=True).values
    torch.testing.assert_close(found[: len(active)], torch.tensor(active), rtol=1e-3, atol=1e-3)
    assert (found[len(active) :] == 0).all()  # switched off, exactly
    assert (stats.loc.var(0) > 0).sum() == exact.active_units
    assert stats.rate.mean().item() == pytest.approx(exact.rate, abs=2e-3)
    # a mean of 80,000 draws of z, whose deviation is below 3 nats: five standard errors
    assert stats.distortion.mean().item() == pytest.approx(exact.distortion, abs=0.05)
