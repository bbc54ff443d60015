"""VampPrior, mixtures and flows: densities against independent ones, samples against their moments."""

import math

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import vaelab
from builders import elbo_terms, images, random, vae
from cli_runner import trained
from support.chance import SIGMAS
from support.no_float64 import NoFloat64
from support.stacking import assert_stacked_as_alone
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.codebooks import Codebook
from vaelab.models.conditions import LabelCondition
from vaelab.models.divergence import kl_per_dimension, rate
from vaelab.models.likelihoods import Bernoulli, ContinuousBernoulli
from vaelab.models.networks import mlp
from vaelab.models.objectives import CodebookLoss, Distortion, FreeBits, Objective
from vaelab.models.posteriors import DiagonalGaussian
from vaelab.models.priors import (
    FittedCodes,
    FlowPrior,
    MixtureOfGaussians,
    Prior,
    StandardNormal,
    UniformCodes,
    VampPrior,
    choose,
)
from vaelab.models.requirements import Misfit
from vaelab.types import LatentStats

N = 200_000


def planted_mixture(components: int = 3, d: int = 2) -> MixtureOfGaussians:
    prior = MixtureOfGaussians(d, components).double()
    with torch.no_grad():
        for i, parameter in enumerate(prior.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=random(i), dtype=torch.float64))
        prior.loc.mul_(2)
    return prior


def reference(prior: MixtureOfGaussians) -> MixtureSameFamily:
    parts = Independent(Normal(prior.loc.detach(), prior.log_var.detach().exp().sqrt()), 1)
    return MixtureSameFamily(Categorical(logits=prior.logits.detach()), parts)


def model_with(prior: Prior, d: int = 2, **parts) -> Autoencoder:
    like = vae(d)
    return Autoencoder(
        *(like.encoder, like.decoder, DiagonalGaussian(d), prior, like.likelihood, Objective(elbo_terms())),
        **parts,
    )


# choosing a component by quantiles


def test_components_are_chosen_with_their_weights_and_the_noise_left_is_normal_and_independent():
    weights = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    noise = torch.randn(N, 2, generator=random(), dtype=torch.float64)
    index, left = choose(noise, weights.log())
    for k, weight in enumerate(weights):
        chosen = left[index == k]
        assert abs(len(chosen) / N - weight) < SIGMAS * math.sqrt(weight * (1 - weight) / N)
        for d in range(2):  # a shared coordinate would be truncated to a slice of the normal
            assert scipy_stats.kstest(chosen[:, d].numpy(), "norm").pvalue > 1e-3
    assert torch.equal(left[:, 1], noise[:, 1])
    assert abs(np.corrcoef(left.numpy().T)[0, 1]) < 0.01


def test_choosing_is_finite_in_the_tails_and_takes_a_single_component():
    noise = torch.tensor([[-9.0], [9.0], [40.0], [-40.0], [0.0]])
    index, left = choose(noise, torch.tensor([1.0, 2.0, 1.0]).log_softmax(0))
    assert index.tolist() == [0, 2, 2, 0, 1]
    assert left.isfinite().all()
    alone = torch.randn(50, 2, generator=random())
    index, left = choose(alone, torch.zeros(1))
    assert (index == 0).all()
    torch.testing.assert_close(left, alone)


def test_choosing_in_float32_is_off_by_about_1e_7_over_the_weight():
    components, noise = 50, torch.randn(20_000, 1, generator=random())
    log_weights = torch.full((components,), -math.log(components))
    index, left = choose(noise, log_weights)
    exact_index, exact = choose(noise.double(), log_weights.double())
    same = index == exact_index  # but at a boundary
    assert same.float().mean() > 0.999
    error = (torch.special.ndtr(left.double()) - torch.special.ndtr(exact))[same].abs()
    assert error.quantile(0.99) < 2e-7 * components
    assert error.max() < 1e-6 * components


# mixtures


def test_a_mixtures_density_is_torchs():
    prior, z = planted_mixture(), torch.randn(4, 5, 2, generator=random(), dtype=torch.float64)
    torch.testing.assert_close(prior.log_prob(z), reference(prior).log_prob(z))


def test_a_mixtures_samples_have_its_moments():
    prior = planted_mixture()
    z = prior.sample(torch.randn(N, 2, generator=random(), dtype=torch.float64)).detach()
    exact = reference(prior)
    error = z.std(0) / math.sqrt(N)
    assert ((z.mean(0) - exact.mean).abs() < SIGMAS * error).all()
    torch.testing.assert_close(z.var(0), exact.variance, rtol=0.02, atol=0)
    weights, loc = exact.mixture_distribution.probs.numpy(), prior.loc.detach().numpy()
    between = (weights[:, None] * (loc - weights @ loc)).T @ (loc - weights @ loc)
    assert np.cov(z.numpy().T)[0, 1] == pytest.approx(between[0, 1], abs=0.05)
    assert abs(between[0, 1]) > 0.2


def test_the_rate_is_an_unbiased_estimate_of_the_kl():
    """In one dimension, against quadrature."""
    prior, posterior = planted_mixture(components=3, d=1), DiagonalGaussian(1)
    q = posterior(torch.tensor([[0.7, -0.8], [-2.0, 0.5]], dtype=torch.float64))
    grid = torch.linspace(-30, 30, 200_001, dtype=torch.float64)[:, None]
    log_q = Normal(q.loc, q.scale).log_prob(grid[:, None])[..., 0]  # (G, 2)
    log_p = reference(prior).log_prob(grid)[:, None]
    exact = torch.trapezoid(log_q.exp() * (log_q - log_p), grid[:, 0], dim=0)
    z = posterior.sample(q, torch.randn(N, 2, 1, generator=random(), dtype=torch.float64))
    of_z = posterior.log_prob(q, z), prior.log_prob(z)
    error = (of_z[0] - of_z[1]).std(0) / math.sqrt(N)
    found = rate(posterior, q, prior, LatentStats(log_q=of_z[0], log_p=of_z[1]))
    assert ((found - exact).abs() < SIGMAS * error).all()
    assert (error < 0.01 * exact).all()
    assert kl_per_dimension(posterior, q, prior).isnan().all()


# VampPrior


def test_vampprior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs():
    prior = VampPrior((1, 4, 4), components=5)
    model = model_with(prior).double()
    z = torch.randn(3, 4, 2, generator=random(), dtype=torch.float64)
    found = prior.bind(model.posterior, model.posterior_parameters).log_prob(z)
    for s in range(3):
        for b in range(4):
            total = 0.0
            for k in range(5):
                u = prior.pseudo_inputs[k : k + 1].detach()
                loc, log_var = model.encoder(u)[0].detach().chunk(2)
                densities = scipy_stats.norm.pdf(z[s, b].numpy(), loc.numpy(), (log_var / 2).exp().numpy())
                total += densities.prod() / 5
            assert found[s, b].item() == pytest.approx(math.log(total), rel=1e-9)


def test_vampprior_samples_from_its_components():
    prior = VampPrior((1, 4, 4), components=2)
    with torch.no_grad():
        prior.pseudo_inputs.copy_(torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)]))
    model = model_with(prior).double()
    q = model.posterior_parameters(prior.images())
    z = prior.bind(model.posterior, model.posterior_parameters).sample(
        torch.randn(N, 2, generator=random(), dtype=torch.float64)
    )
    mean, square = q.loc.mean(0), (q.loc.square() + q.scale.square()).mean(0)
    assert (q.loc[0] - q.loc[1]).abs().max() > 0.1  # else this would show nothing
    assert ((z.mean(0) - mean).abs() < SIGMAS * z.std(0) / math.sqrt(N)).all()
    torch.testing.assert_close(z.square().mean(0).detach(), square, rtol=0.02, atol=0)


def test_pseudo_inputs_begin_around_the_mean_image_and_stay_in_the_datas_range():
    mean = torch.linspace(0.3, 0.7, 16).reshape(1, 4, 4)
    prior = VampPrior((1, 4, 4), components=400, noise=0.05, mean_image=mean)
    torch.testing.assert_close(prior.pseudo_inputs.mean(0), mean, atol=0.02, rtol=0)
    assert prior.pseudo_inputs.std(0).mean().item() == pytest.approx(0.05, rel=0.1)
    with torch.no_grad():
        prior.pseudo_inputs.mul_(10).sub_(2)
    assert (prior.images().min(), prior.images().max()) == (0, 1)


def test_pseudo_inputs_of_a_run_fill_the_range_of_its_data(tmp_path):
    """Images in [-3, 6]: the pseudo-inputs begin around their mean, learn, and stay in that range."""
    x = random_images(np.random.default_rng(0))
    np.savez(tmp_path / "mine.npz", x=x)
    data = ("data=npz", f"data.path={tmp_path / 'mine.npz'}", "data.test_size=32", "data.train_size=null")
    run = ("prior=vamp", "prior.components=8", "likelihood=learned_gaussian", "trainer.max_epochs=5")
    result = trained(tmp_path, *data, *run, "optimizer.lr=0.05", "callbacks=no_pictures")
    assert result.record["data"]["value_range"] == [x.min(), x.max()] == [-3, 6]
    prior = vaelab.load(result.folder, device="cpu").model.prior
    assert (prior.low, prior.high) == (-3, 6)
    inputs = prior.images().detach()
    assert (inputs.min() >= -3, inputs.max() <= 6) == (True, True)
    # 8 means of 4x4 pixels: outside of [0, 1] as the data are, and moved by the training
    assert inputs.min() < -1
    assert inputs.max() > 3
    torch.testing.assert_close(inputs.mean(), torch.tensor(x).mean(), atol=1.5, rtol=0)
    assert result.record["metrics"]["test/elbo"] is not None
    assert result.record["verdict"]["label"] != "untrained"


def random_images(rng):
    """128 images of 4x4 in [-3, 6], each bright on the left or on the right."""
    x = rng.uniform(-3, 0, (128, 4, 4))
    left = rng.random(128) < 0.5
    x[left, :, :2] += 6
    x[~left, :, 2:] += 6
    x[0, 0, 0], x[1, 0, 0] = -3, 6
    return x.astype(np.float32)


def test_pseudo_inputs_of_dark_images_differ_stay_in_range_and_learn():
    dark = VampPrior((1, 4, 4), 3, value_range=(-1.0, 1.0), mean_image=torch.full((1, 4, 4), -1.0))
    model = model_with(dark)
    assert dark.images().min() >= -1
    assert dark.images().max() < 0
    assert dark.images().detach().unique(dim=0).shape[0] == 3
    stats = model(2 * images(5) - 1, model.draw_noise(5, random())).stats
    stats.log_p.sum().backward()
    gradients = dark.pseudo_inputs.grad.flatten(1)
    assert (gradients != 0).all()  # those on the bound included
    assert gradients.unique(dim=0).shape[0] == 3
    assert [name for name in model.state_dict() if "pseudo" in name] == ["prior.pseudo_inputs"]  # once


# flows


def planted_flow(d: int) -> FlowPrior:
    """A flow that is far from the identity."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = FlowPrior(d, transforms=2, hidden=(16,)).double()
    with torch.no_grad():
        for i, parameter in enumerate(prior.parameters()):
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=random(i), dtype=torch.float64))
    return prior


def test_a_flow_integrates_to_one():
    axis = torch.linspace(-8, 8, 321, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)
    with torch.no_grad():
        density = planted_flow(2).log_prob(grid).exp()
    normal = (-0.5 * grid.square().sum(-1)).exp() / (2 * math.pi)
    assert (density - normal).abs().max() > 0.05
    assert torch.trapezoid(torch.trapezoid(density, axis), axis).item() == pytest.approx(1, abs=1e-3)


def test_a_flows_density_is_that_of_its_samples():
    """By the change of variables: log p(z) = log N(noise) - log |det dz/dnoise|."""
    prior, noise = planted_flow(3), torch.randn(6, 3, generator=random(), dtype=torch.float64)
    z = prior.sample(noise).detach()
    assert (z - noise).abs().max() > 0.1
    for one, at in zip(noise, z, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda n: prior.sample(n[None])[0], one)
        expected = Normal(0.0, 1.0).log_prob(one).sum() - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(prior.log_prob(at), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(prior.sample(noise), prior.sample(noise))


# in the model


@pytest.mark.parametrize("prior", [VampPrior((1, 4, 4), 3), MixtureOfGaussians(2, 3), FlowPrior(2)])
def test_the_rate_is_defined_and_has_no_parts(prior):
    model = model_with(prior)
    output = model(images(5), model.draw_noise(5, random(), samples=4))
    stats = output.stats
    assert stats.kl.shape == (5, 2)
    assert stats.kl.isnan().all()
    torch.testing.assert_close(stats.rate, (stats.log_q - stats.log_p).mean(0))
    torch.testing.assert_close(output.loss, stats.distortion.mean() + stats.rate.mean())
    output.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.prior.parameters())
    assert model.sample(6).shape == (6, 1, 4, 4)
    assert torch.equal(model.sample(6), model.sample(6))


@pytest.mark.parametrize("make", [lambda: VampPrior((1, 4, 4), 3), lambda: MixtureOfGaussians(2, 3)])
def test_models_with_learned_priors_stack(make):
    torch.manual_seed(0)
    models = [model_with(make()) for _ in range(2)]
    assert_stacked_as_alone(models, images(5), [models[0].draw_noise(5, random())] * 2)


def test_parts_that_make_no_sense_together_are_refused():
    like, mixture = vae(2), MixtureOfGaussians(2, 3)
    with pytest.raises(Misfit, match=r"objective\.free needs a prior that gives each dimension a KL"):
        Autoencoder(
            *(like.encoder, like.decoder, DiagonalGaussian(2), mixture, like.likelihood),
            Objective({"distortion": Distortion(), "free": FreeBits(0.5)}),
        )
    with pytest.raises(Misfit, match="prior needs a posterior over vectors"):
        Autoencoder(
            *(like.encoder, like.decoder, Codebook(2, 4, 1), StandardNormal(), like.likelihood),
            Objective({"distortion": Distortion(), "codebook": CodebookLoss()}),
        )
    with pytest.raises(Misfit, match="prior needs an encoder without labels"):
        model_with(VampPrior((1, 4, 4), 3), condition=LabelCondition(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VampPrior((1, 4, 4), 0), "components must be .* >= 1, got 0"),
        (lambda: VampPrior((1, 4, 4), value_range=(1.0, 1.0)), "value_range must have an extent"),
        (lambda: MixtureOfGaussians(2, 0), "components must be .* >= 1, got 0"),
        (lambda: FlowPrior(2, 0), "transforms must be .* >= 1, got 0"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


@pytest.mark.parametrize(
    ("prior", "posterior", "likelihood"),
    [
        (VampPrior((1, 4, 4), 3), DiagonalGaussian(2), Bernoulli()),
        (MixtureOfGaussians(2, 3), DiagonalGaussian(2), ContinuousBernoulli()),
        (UniformCodes(), Codebook(2, 4, 1, decay=0.9), Bernoulli()),
        (FittedCodes(2, 4), Codebook(2, 4, 1, decay=0.9), ContinuousBernoulli()),
    ],
)
def test_nothing_is_computed_in_float64(prior, posterior, likelihood):
    """Apple's MPS does not have it."""
    encoder, decoder = mlp((1, 4, 4), 2, posterior.parameter_count, 1, (8,))
    objective = Objective({"distortion": Distortion()})
    model = Autoencoder(encoder, decoder, posterior, prior, likelihood, objective)
    noise, pixels = model.draw_noise(5, random()), torch.randn(5, 1, 4, 4, generator=random(1))
    with NoFloat64():
        output = model(images(5), noise)
        output.loss.backward()
        likelihood.sample(output.decoded[0], pixels)


# through the command line


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["vamp_vae", "mog_vae", "flow_prior_vae"])
def test_a_learned_prior_trains_is_measured_and_comes_back(tmp_path, variant):
    settings = (
        *("model.latent_dim=3", "trainer.max_epochs=5", "data.train_size=500", "data.val_size=200"),
        *("optimizer.lr=0.003", "network.hidden=[64]", "callbacks.samples.every_n_epochs=null"),
    )
    result = trained(tmp_path, f"model={variant}", *settings)
    got = result.record["metrics"]
    assert got["test/elbo"] == pytest.approx(-(got["test/rate"] + got["test/distortion"]), rel=1e-5)
    assert got["test/rate"] > 0.1
    assert got["test/kl_per_dim"] == [None] * 3
    # no KL per dimension: no picture of it
    assert [path.name for path in (result.folder / "latents").iterdir()] == ["map.png"]
    model = vaelab.load(result.folder).model
    if variant == "mog_vae":
        assert model.prior.logits.std() > 0  # the logits began equal
    assert model.sample(4).shape == (4, 1, 8, 8)
