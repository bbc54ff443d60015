"""The model as a whole, against closed forms: pPCA, the linear beta-VAE, quadratic distortions."""

import gc
import itertools
import math
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal

from builders import ae, elbo_terms, images, random, vae
from support.chance import SIGMAS
from support.stacking import assert_stacked_as_alone
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.likelihoods import Bernoulli, Gaussian
from vaelab.models.networks import linear
from vaelab.models.objectives import KL, Distortion, Objective
from vaelab.models.posteriors import Deterministic, DiagonalGaussian
from vaelab.models.priors import StandardNormal
from vaelab.models.requirements import Misfit
from vaelab.types import LatentStats, Noise

# shapes and identities


@pytest.mark.parametrize("samples", [1, 4])
def test_a_forward_pass_has_the_shapes_it_promises(samples):
    b, d, shape = 5, 3, (2, 4, 6)
    model = vae(d, shape)
    output = model(images(b, shape), model.draw_noise(b, random(), samples))
    assert output.loss.shape == ()
    assert {name: value.shape for name, value in output.terms.items()} == {"distortion": (), "kl": ()}
    stats = output.stats.for_metrics()
    assert [tuple(part.shape) for part in stats.pop("q")] == [(b, d)] * 3
    assert {name: tuple(value.shape) for name, value in stats.items()} == {
        **dict.fromkeys(("distortion", "log_q", "log_p"), (samples, b)),
        **dict.fromkeys(("kl", "loc", "scale", "z_prior"), (b, d)),
        "rate": (b,),
        "z": (samples, b, d),
    }
    assert output.decoded.shape == (samples, b, *shape)


def test_the_statistics_are_those_of_the_distributions():
    model, x = vae().double(), images(5).double()
    noise = Noise(*(part.double() for part in model.draw_noise(5, random(), samples=2)))
    stats, decoded = model(x, noise).stats, model(x, noise).decoded
    q = Normal(stats.loc, stats.scale)
    p = Normal(torch.zeros_like(stats.loc), 1.0)
    torch.testing.assert_close(stats.z, q.mean + q.stddev * noise.posterior)
    torch.testing.assert_close(stats.kl, torch.distributions.kl_divergence(q, p))
    torch.testing.assert_close(stats.rate, stats.kl.sum(1))
    torch.testing.assert_close(stats.log_q, Independent(q, 1).log_prob(stats.z))
    torch.testing.assert_close(stats.log_p, Independent(p, 1).log_prob(stats.z))
    torch.testing.assert_close(stats.z_prior, noise.prior)
    bits = nn.functional.binary_cross_entropy_with_logits(decoded, x.expand_as(decoded), reduction="none")
    torch.testing.assert_close(stats.distortion, bits.sum((2, 3, 4)))


def test_every_sample_is_decoded_for_its_own_image():
    model, x = vae(), images(5)
    noise = model.draw_noise(5, random(), samples=3)
    together = model(x, noise)
    for s, b in itertools.product(range(3), range(5)):
        alone = model(x[b : b + 1], Noise(noise.posterior[s : s + 1, b : b + 1], noise.prior[b : b + 1]))
        torch.testing.assert_close(together.decoded[s, b], alone.decoded[0, 0])
        torch.testing.assert_close(together.stats.distortion[s, b], alone.stats.distortion[0, 0])


def test_noise_is_standard_normal_and_belongs_to_the_generator():
    noise = vae().draw_noise(4000, random(3), samples=2)
    again = vae().draw_noise(4000, random(3), samples=2)
    everything = torch.cat([*noise.posterior, noise.prior])  # three blocks of 4000
    assert noise.posterior.shape == (2, 4000, 3)
    assert torch.equal(noise.posterior, again.posterior)
    assert torch.equal(noise.prior, again.prior)
    assert abs(everything.mean()) < SIGMAS / everything.numel() ** 0.5
    assert abs(everything.square().mean() - 1) < SIGMAS * (2 / everything.numel()) ** 0.5
    blocks = torch.stack([*noise.posterior, noise.prior]).flatten(1)
    correlations = torch.corrcoef(blocks) - torch.eye(3)
    assert correlations.abs().max() < SIGMAS / blocks.shape[1] ** 0.5


def test_a_forward_pass_draws_nothing():
    model, x = vae(), images(5)
    noise = model.draw_noise(5, random())
    before = torch.get_rng_state()
    assert model(x, noise).loss.item() == model(x, noise).loss.item()
    assert torch.equal(torch.get_rng_state(), before)


# closed forms; noise with every combination of signs makes the mean of a quadratic exact


def signs(dimensions: int) -> Tensor:
    """All vectors of +-1, (2^D, D): mean zero, covariance exactly the identity."""
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=dimensions)), dtype=torch.float64)


def sign_noise(images: int, dimensions: int) -> Noise:
    rows = signs(dimensions)
    return Noise(rows[:, None].expand(-1, images, -1), rows.new_zeros(images, dimensions))


def linear_vae(pixels: int, latent_dim: int, sigma: float, beta: float = 1.0) -> Autoencoder:
    encoder, decoder = linear((1, 1, pixels), latent_dim, 2 * latent_dim, 1, init="xavier")  # without biases
    posterior, likelihood = DiagonalGaussian(latent_dim), Gaussian(sigma)
    objective = Objective(elbo_terms(beta))
    return Autoencoder(encoder, decoder, posterior, StandardNormal(), likelihood, objective).double()


def test_loss_and_gradient_of_a_linear_model_in_closed_form():
    sigma, beta = 0.5, 3.0
    model = linear_vae(pixels=6, latent_dim=2, sigma=sigma, beta=beta)
    x = torch.randn(4, 1, 1, 6, generator=random(1), dtype=torch.float64)
    encoded = torch.randn(4, 4, generator=random(2), dtype=torch.float64).requires_grad_()
    model.encoder = Answers(encoded)
    loss = model(x, sign_noise(4, 2)).loss
    (gradient,) = torch.autograd.grad(loss, encoded)

    w, (mu, log_var) = model.decoder[0].weight.detach(), encoded.detach().chunk(2, dim=1)
    residual, variance = x.flatten(1) - mu @ w.T, log_var.exp()
    spread = w.square().sum(0)  # what a unit of variance in z_d costs
    distortion = (residual.square().sum(1) + variance @ spread) / (2 * sigma**2)
    distortion = distortion + 3 * math.log(2 * math.pi * sigma**2)
    rate = 0.5 * (mu.square() + variance - log_var - 1).sum(1)
    torch.testing.assert_close(loss.detach(), (distortion + beta * rate).mean())
    by_mu = -residual @ w / sigma**2 + beta * mu
    by_log_var = variance * spread / (2 * sigma**2) + beta * (variance - 1) / 2
    torch.testing.assert_close(gradient, torch.cat([by_mu, by_log_var], dim=1) / 4)


class Answers(nn.Module):
    """An encoder whose output is given."""

    def __init__(self, encoded: Tensor) -> None:
        super().__init__()
        self.encoded = encoded

    def forward(self, x: Tensor) -> Tensor:
        return self.encoded


def test_with_the_exact_posterior_every_sample_gives_the_evidence():
    """log p(x|z) + log p(z) - log q(z|x) = log p(x) = log N(x; 0, W W' + sigma^2 I), whatever z."""
    sigma = 0.5
    model = linear_vae(pixels=5, latent_dim=2, sigma=sigma)
    w = torch.linalg.qr(torch.randn(5, 2, generator=random(), dtype=torch.float64)).Q * torch.tensor(
        [2.0, 0.7]
    )
    precision = 1 + w.square().sum(0) / sigma**2  # columns of W are orthogonal: so is the posterior
    with torch.no_grad():
        model.decoder[0].weight.copy_(w)
        model.encoder[-1].weight.copy_(torch.cat([w.T / sigma**2 / precision[:, None], torch.zeros(2, 5)]))
        model.encoder[-1].bias.copy_(torch.cat([torch.zeros(2), -precision.log()]))
    x = torch.randn(4, 1, 1, 5, generator=random(1), dtype=torch.float64)
    covariance = w @ w.T + sigma**2 * torch.eye(5, dtype=torch.float64)
    evidence = MultivariateNormal(torch.zeros(5, dtype=torch.float64), covariance).log_prob(x.flatten(1))

    noise = torch.randn(6, 4, 2, generator=random(2), dtype=torch.float64)
    stats = model(x, Noise(noise, noise[0])).stats
    weights = -stats.distortion + stats.log_p - stats.log_q
    torch.testing.assert_close(weights, evidence.expand(6, 4))
    # and so the ELBO, here without Monte Carlo error, is the evidence
    stats = model(x, sign_noise(4, 2)).stats
    torch.testing.assert_close(-(stats.rate + stats.distortion.mean(0)), evidence)


def test_the_optimum_of_the_linear_beta_vae_is_reverse_water_filling():
    """Dimension i is active iff its eigenvalue l_i > s = beta sigma^2; then its KL is 1/2 log(l_i / s)."""
    sigma, beta = 0.5, 2.0
    eigenvalues = torch.tensor([4.0, 2.0, 1.0, 0.25], dtype=torch.float64)
    s = beta * sigma**2
    x = (signs(4) * eigenvalues.sqrt())[:, None, None]  # 16 images of covariance exactly diag(eigenvalues)
    gain, log_var = (eigenvalues - s).clamp(min=0).sqrt(), (s / eigenvalues).clamp(max=1).log()
    model = linear_vae(pixels=4, latent_dim=4, sigma=sigma, beta=beta)
    with torch.no_grad():
        model.decoder[0].weight.copy_(gain.diag())
        model.encoder[-1].weight.copy_(torch.cat([(gain / eigenvalues).diag(), torch.zeros(4, 4)]))
        model.encoder[-1].bias.copy_(torch.cat([torch.zeros(4), log_var]))
    output = model(x, sign_noise(16, 4))

    active = eigenvalues > s
    assert active.tolist() == [True, True, True, False]
    kl = torch.where(active, 0.5 * (eigenvalues / s).log(), torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(output.stats.kl.mean(0), kl)
    variance = torch.where(active, 1 - s / eigenvalues, torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(output.stats.loc.var(0, correction=0), variance)
    error = torch.where(active, torch.tensor(s, dtype=torch.float64), eigenvalues).sum()
    distortion = error / (2 * sigma**2) + 2 * math.log(2 * math.pi * sigma**2)
    torch.testing.assert_close(output.stats.distortion.mean(), distortion)
    for gradient in torch.autograd.grad(output.loss, list(model.parameters())):
        assert gradient.abs().max() < 1e-10


def test_the_reparametrised_gradient_is_the_score_functions():
    """d/dphi E_q[D(z)] = E_q[(D(z) - b) d/dphi log q(z)], for every parameter of the encoder."""
    groups, samples = 40, 4000
    model = vae(latent_dim=2, image_shape=(1, 2, 2), hidden=(3,), terms={"distortion": Distortion()})
    parameters, x = list(model.encoder.parameters()), 3 * images(1, (1, 2, 2))
    with torch.no_grad():
        baseline = model(x, Noise(torch.zeros(1, 1, 2), torch.zeros(1, 2))).loss
    source = random(1)

    def flat(loss: Tensor) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, retain_graph=True)])

    path, score = [], []
    for _ in range(groups):
        output = model(x, model.draw_noise(1, source, samples))
        path.append(flat(output.loss))
        q = model.posterior(model.encoder(x))
        log_q = model.posterior.log_prob(q, output.stats.z.detach())
        score.append(flat(((output.stats.distortion.detach() - baseline) * log_q).mean()))
    path, score = torch.stack(path), torch.stack(score)
    difference = path - score
    error = difference.std(0) / groups**0.5
    assert error.norm() < 0.05 * path.mean(0).norm()
    assert (difference.mean(0).abs() <= SIGMAS * error + 1e-6).all()


# the plain autoencoder


def test_an_autoencoder_has_no_rate_draws_nothing_and_has_finite_gradients():
    model, x = ae(), images(5)
    output, other = (model(x, model.draw_noise(5, random(seed))) for seed in (0, 1))
    stats = output.stats
    for undefined in (stats.rate, stats.kl, stats.log_q):
        assert undefined.isnan().all()
    for defined in (stats.distortion, stats.loc, stats.z, stats.log_p, stats.z_prior):
        assert defined.isfinite().all()
    assert (stats.scale == 0).all()
    assert torch.equal(stats.z, other.stats.z)
    assert output.loss.item() == other.loss.item() == pytest.approx(stats.distortion.mean().item())
    gradients = torch.autograd.grad(output.loss, list(model.parameters()))
    assert all(gradient.isfinite().all() and gradient.norm() > 0 for gradient in gradients)


def test_a_kl_term_needs_a_density():
    encoder, decoder = linear((1, 4, 4), 3, 3, 1)
    terms = {"distortion": Distortion(), "divergence": KL(2.0)}
    with pytest.raises(Misfit, match=r"objective\.divergence needs a posterior with a density") as caught:
        Autoencoder(encoder, decoder, Deterministic(3), StandardNormal(), Bernoulli(), Objective(terms))
    assert (caught.value.part, caught.value.need) == ("objective.divergence", "density")


# using a trained model


@pytest.mark.parametrize("shape", [(), (7,), (2, 3, 7), (0,)])
def test_decode_takes_any_leading_shape(shape):
    model = vae(3, (2, 4, 6))
    z = torch.randn(*shape, 3, generator=random())
    x = model.decode(z)
    assert x.shape == (*shape, 2, 4, 6)
    flat = model.decode(z.reshape(-1, 3))
    torch.testing.assert_close(x.reshape(-1, 2, 4, 6), flat)
    torch.testing.assert_close(flat, model.decoder(z.reshape(-1, 3)).sigmoid().detach())


def test_reconstruct_decodes_the_posterior_mean():
    model, x = vae(), images(5)
    q = model.encode(x)
    stats = model(x, model.draw_noise(5, random())).stats
    assert torch.equal(q.loc, stats.loc)
    assert torch.equal(q.scale, stats.scale)
    assert not q.loc.requires_grad
    torch.testing.assert_close(model.reconstruct(x), model.decode(q.loc))
    assert model.reconstruct(x).shape == x.shape


def test_stored_images_are_scaled():
    model = vae()
    stored = torch.randint(0, 256, (5, 1, 4, 4), generator=random(), dtype=torch.uint8)
    torch.testing.assert_close(model.reconstruct(stored), model.reconstruct(stored.double().div(255).float()))
    torch.testing.assert_close(model.encode(stored).loc, model.encode(stored / 255).loc)


def test_samples_depend_on_the_seed_alone():
    model = vae()
    before = torch.get_rng_state()
    first = model.sample(6)
    torch.rand(3, generator=random())
    assert first.shape == (6, 1, 4, 4)
    assert torch.equal(first, model.sample(6, seed=0))
    assert not torch.equal(first, model.sample(6, seed=1))
    assert torch.equal(torch.get_rng_state(), before)
    assert not first.requires_grad


def test_samples_are_decoded_from_the_prior():
    model = vae(latent_dim=2, image_shape=(1, 1, 2), likelihood=Gaussian(1.0))
    model.decoder = nn.Unflatten(1, (1, 1, 2))  # the image is z
    z = model.sample(4000).flatten(1)
    assert (z.mean(0).abs() < SIGMAS / 4000**0.5).all()
    assert (torch.cov(z.T) - torch.eye(2)).abs().max() < SIGMAS * (2 / 4000) ** 0.5


# stacked models


def test_stacked_models_are_the_models_one_by_one():
    """They differ in weights, beta and sigma."""
    settings = [(1.0, 0.3, 0), (4.0, 0.5, 1), (0.0, 1.0, 2)]
    models = [
        vae(likelihood=Gaussian(sigma), terms=elbo_terms(beta), seed=seed) for beta, sigma, seed in settings
    ]
    assert_stacked_as_alone(models, images(5), [m.draw_noise(5, random(k)) for k, m in enumerate(models)])


def test_what_nobody_reads_is_not_computed():
    class Unreadable(StandardNormal):
        def log_prob(self, z):
            raise AssertionError("nothing reads log p(z)")

        def sample(self, noise):
            raise AssertionError("nothing reads a prior sample")

    model = vae()
    model.prior = Unreadable()
    output = model(images(5), model.draw_noise(5, random()))
    assert output.loss.isfinite()
    with pytest.raises(AssertionError, match="nothing reads a prior sample"):
        output.stats.z_prior  # noqa: B018


def test_the_activations_of_a_step_are_freed_with_it():
    """Not at the next round of the garbage collector, as they would be in a cycle of references."""
    model = vae()
    gc.collect()
    gc.disable()
    try:
        output = model(images(5), model.draw_noise(5, random()))
        output.loss.backward()
        assert output.stats.rate.isfinite().all()
        stats = weakref.ref(output.stats)
        del output
        assert stats() is None
    finally:
        gc.enable()


def test_statistics_have_no_other_fields():
    with pytest.raises(TypeError, match="no fields rates"):
        LatentStats(rates=torch.zeros(3))
    with pytest.raises(AttributeError, match="without kl"):
        LatentStats(rate=torch.zeros(3)).kl  # noqa: B018
