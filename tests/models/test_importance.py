"""IWAE: the bound against log p(x) of a linear-Gaussian model, its two gradients, the metric."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal

from builders import elbo_terms, random
from cli_runner import trained
from support.chance import SIGMAS
from vaelab.metrics import ImportanceBound as Metric
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.likelihoods import Gaussian
from vaelab.models.networks import linear
from vaelab.models.objectives import ImportanceBound, Objective
from vaelab.models.posteriors import DiagonalGaussian
from vaelab.models.priors import StandardNormal
from vaelab.types import Noise

PIXELS, LATENT, SIGMA = 5, 2, 0.7


def linear_iwae(gradient: str = "standard") -> Autoencoder:
    """p(x|z) = N(Wz, SIGMA^2 I), and a q(z|x) which is not the posterior."""
    encoder, decoder = linear((1, 1, PIXELS), LATENT, 2 * LATENT, 1)
    objective = Objective({"importance": ImportanceBound(gradient=gradient)})
    model = Autoencoder(
        encoder, decoder, DiagonalGaussian(LATENT), StandardNormal(), Gaussian(SIGMA), objective
    ).double()
    source = random(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=source, dtype=torch.float64))
        model.encoder[-1].weight[LATENT:] *= 0.1  # q is about as wide as the prior: no heavy tails
        model.encoder[-1].bias[LATENT:] = 0.0
    return model


def data(number: int) -> Tensor:
    return torch.randn(number, 1, 1, PIXELS, generator=random(1), dtype=torch.float64)


def noise(samples: int, number: int, seed: int = 2) -> Noise:
    draws = torch.randn(samples, number, LATENT, generator=random(seed), dtype=torch.float64)
    return Noise(draws, draws[0])


def evidence(model: Autoencoder, x: Tensor) -> Tensor:
    """log p(x) = log N(x; b, W W' + SIGMA^2 I)."""
    layer = next(part for part in model.decoder if isinstance(part, nn.Linear))
    covariance = layer.weight @ layer.weight.T + SIGMA**2 * torch.eye(PIXELS)
    bias = torch.zeros(PIXELS) if layer.bias is None else layer.bias
    return MultivariateNormal(bias.double(), covariance).log_prob(x.flatten(1)).detach()


def test_the_bound_grows_with_k_to_the_evidence():
    model, x = linear_iwae(), data(40)
    exact = evidence(model, x).mean().item()
    with torch.no_grad():
        bounds = [-model(x, noise(k, 40)).loss.item() for k in (1, 4, 16, 64, 20_000)]
    assert bounds == sorted(bounds)
    assert bounds[0] < exact - 0.5
    assert bounds[-1] == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("gradient", ["standard", "dreg"])
def test_the_term_is_the_negative_bound(gradient):
    model, x = linear_iwae(gradient), data(6)
    output = model(x, noise(7, 6))
    stats = output.stats
    q = Independent(Normal(stats.loc, stats.scale), 1)
    p = Independent(Normal(torch.zeros_like(stats.loc), 1.0), 1)
    likelihood = Independent(Normal(output.decoded, SIGMA), 3)
    log_w = likelihood.log_prob(x) + p.log_prob(stats.z) - q.log_prob(stats.z)
    bound = log_w.exp().mean(0).log()
    torch.testing.assert_close(output.loss, -bound.mean())
    torch.testing.assert_close(output.terms["importance"], -bound.mean())


def gradients(loss: Tensor, model: nn.Module) -> Tensor:
    found = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    return torch.cat([part.flatten() for part in found])


def test_the_standard_gradient_is_that_of_the_bound():
    model, x, draws = linear_iwae(), data(6), noise(7, 6)
    output = model(x, draws)
    loc, log_var = model.encoder(x).chunk(2, dim=1)
    scale = (log_var / 2).exp()
    z = loc + scale * draws.posterior
    w = (
        Independent(Normal(model.decoder(z.reshape(-1, LATENT)).reshape(7, 6, 1, 1, PIXELS), SIGMA), 3)
        .log_prob(x)
        .exp()
        * Independent(Normal(torch.zeros_like(loc), 1.0), 1).log_prob(z).exp()
        / Independent(Normal(loc, scale), 1).log_prob(z).exp()
    )
    torch.testing.assert_close(gradients(output.loss, model), gradients(-w.mean(0).log().mean(), model))


def test_with_one_sample_it_is_the_elbo_in_expectation():
    model, x = linear_iwae(), data(5)
    repeated = x.repeat(4000, 1, 1, 1)
    stats = model(repeated, noise(1, 20_000)).stats
    elbo = -(stats.rate + stats.distortion[0]).mean()
    error = (stats.log_p - stats.log_q + stats.rate)[0].std() / 20_000**0.5
    assert abs(-model(repeated, noise(1, 20_000)).loss - elbo) < SIGMAS * error


# the doubly reparametrised gradient


def test_dreg_is_unbiased_and_quieter():
    """Its mean over noise is the standard gradient's; the decoder's is the same draw by draw."""
    standard, dreg, x = linear_iwae(), linear_iwae("dreg"), data(1).expand(1000, -1, -1, -1)
    found: dict[str, list[Tensor]] = {"standard": [], "dreg": []}
    for seed in range(60):
        draws = noise(8, 1000, seed)
        for name, model in (("standard", standard), ("dreg", dreg)):
            found[name].append(gradients(model(x, draws).loss, model.encoder))
    one, other = torch.stack(found["standard"]), torch.stack(found["dreg"])
    difference = one - other
    error = difference.std(0) / 60**0.5
    assert error.norm() < 0.03 * one.mean(0).norm()
    assert (difference.mean(0).abs() < SIGMAS * error).all()
    assert other.std(0).norm() < 0.7 * one.std(0).norm()

    draws = noise(8, 1000, 0)
    torch.testing.assert_close(
        gradients(dreg(x, draws).loss, dreg.decoder), gradients(standard(x, draws).loss, standard.decoder)
    )


def test_dreg_is_its_formula():
    """sum_k w~_k^2 (d log w_k / dz_k) (dz_k / dphi), written out with autograd of the pieces."""
    model, x, draws = linear_iwae("dreg"), data(3), noise(4, 3)
    loc, log_var = model.encoder(x).chunk(2, dim=1)
    z = loc + (log_var / 2).exp() * draws.posterior
    free = z.detach().requires_grad_()
    q = Independent(Normal(loc.detach(), (log_var / 2).exp().detach()), 1)
    p = Independent(Normal(torch.zeros_like(loc), 1.0), 1)
    decoded = model.decoder(free.reshape(-1, LATENT)).reshape(4, 3, 1, 1, PIXELS)
    log_w = Independent(Normal(decoded, SIGMA), 3).log_prob(x) + p.log_prob(free) - q.log_prob(free)
    (by_z,) = torch.autograd.grad(log_w.sum(), free)
    shares = log_w.detach().exp() / log_w.detach().exp().sum(0)
    surrogate = -(shares[..., None] ** 2 * by_z * z).sum((0, 2)).mean()
    torch.testing.assert_close(
        gradients(model(x, draws).loss, model.encoder), gradients(surrogate, model.encoder)
    )


def test_dreg_beside_other_terms_adds_its_gradient_to_theirs():
    model, x, draws = linear_iwae("dreg"), data(3), noise(4, 3)
    alone = gradients(model(x, draws).loss, model)
    importance = model.objective
    model.objective = Objective(elbo_terms(2.0))
    others = gradients(model(x, draws).loss, model)
    model.objective = Objective({**elbo_terms(2.0), **importance.terms})
    torch.testing.assert_close(gradients(model(x, draws).loss, model), alone + others)


# the metric


def test_the_metric_averages_over_images_last():
    source = random()
    distortion, log_q, log_p = (torch.randn(3, 10, generator=source) for _ in range(3))
    metric = Metric()
    for part in (slice(0, 7), slice(7, 10)):
        metric.update(distortion[:, part], log_q[:, part], log_p[:, part], torch.arange(10)[part])
    expected = sum(
        math.log(sum(math.exp(log_p[s, b] - distortion[s, b] - log_q[s, b]) for s in range(3)) / 3)
        for b in range(10)
    )
    assert metric.compute().item() == pytest.approx(expected / 10, rel=1e-5)
    single = Metric()
    single.update(*torch.randn(3, 1, 10, generator=source), torch.arange(10))
    assert single.compute().isnan()  # with one sample it would be an estimate of the ELBO


# through the command line


@pytest.mark.slow
def test_dreg_trains_and_the_bound_is_reported_beside_the_elbo(tmp_path):
    settings = ("data.train_size=512", "data.batch_size=32", "trainer.max_epochs=8", "optimizer.lr=3e-3")
    metrics = trained(tmp_path, "model=iwae", "model.gradient=dreg", *settings).record["metrics"]
    assert metrics["train/importance"] < 30  # 44 nats without learning: 64 pixels, each a coin
    assert metrics["val/elbo"] < metrics["val/importance_bound"]
    assert metrics["test/elbo"] == pytest.approx(-metrics["test/rate"] - metrics["test/distortion"])
