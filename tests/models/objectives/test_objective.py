import pytest
import torch
from torch import Tensor, nn

from builders import elbo_terms, images, latent_stats, random, vae
from vaelab.models.objectives import KL, Distortion, Objective, Term, TermShape


class Ramp(nn.Module):
    """A schedule that is a tenth of the step."""

    def forward(self, step: int) -> Tensor:
        return torch.tensor(step / 10)


@pytest.mark.parametrize("step", [0, 5, 20])
def test_the_loss_is_the_weighted_sum_of_means_over_images(step):
    """The terms are reported unweighted, a null term is left out, and a weight may follow the step."""
    stats = latent_stats(7, samples=3)
    loss, values = Objective({"distortion": Distortion(0.5), "none": None, "kl": KL(Ramp())})(stats, step)
    distortion, rate = stats.distortion.numpy().mean(), stats.kl.numpy().sum(1).mean()
    assert list(values) == ["distortion", "kl"]
    assert values["distortion"].item() == pytest.approx(distortion)
    assert values["kl"].item() == pytest.approx(rate)
    assert loss.item() == pytest.approx(0.5 * distortion + step / 10 * rate)


class Shaped(Term):
    """A term of a given function of the statistics."""

    def __init__(self, value) -> None:
        super().__init__()
        self.value = value

    def forward(self, stats, step) -> Tensor:
        return self.value(stats)


@pytest.mark.parametrize(
    "value",
    [
        lambda stats: stats.kl,  # (B, D)
        lambda stats: stats.z.square(),  # (S, B, D)
        lambda stats: stats.distortion.T,
        lambda stats: stats.rate[:, None],
        lambda stats: stats.rate[:2],
        lambda stats: stats.kl.mean(0),  # (D,)
    ],
)
def test_a_term_whose_mean_would_not_be_one_over_images_is_refused(value):
    stats = latent_stats(7, samples=3)
    with pytest.raises(TermShape, match=r"mine returned .*must be \(B,\) = \(7,\), .*\(3, 7\) or \(\)"):
        Objective({"kl": KL(), "mine": Shaped(value)})(stats, 0)


@pytest.mark.parametrize("value", [lambda s: s.rate, lambda s: s.distortion, lambda s: s.rate.mean()])
def test_a_term_of_each_image_of_each_sample_or_of_the_batch_is_taken(value):
    stats = latent_stats(7, samples=3)
    assert Objective({"mine": Shaped(value)})(stats, 0)[0].item() == pytest.approx(value(stats).mean().item())


@pytest.mark.parametrize("terms", [{}, {"kl": None}])
def test_an_objective_needs_a_term(terms):
    with pytest.raises(ValueError, match="has no terms"):
        Objective(terms)


# beta in a model


def test_beta_weighs_nats_per_image():
    model, x = vae(terms=elbo_terms(4.0)), images(6)
    noise = model.draw_noise(6, random())
    output = model(x, noise)
    stats = output.stats
    mu, variance = stats.loc.double(), stats.scale.double().square()
    rate = 0.5 * (mu.square() + variance - variance.log() - 1).sum() / 6  # over latent dimensions and images
    bits = nn.functional.binary_cross_entropy_with_logits(output.decoded[0], x, reduction="sum") / 6
    assert output.loss.item() == pytest.approx((bits + 4 * rate).item(), rel=1e-5)


def test_the_loss_does_not_depend_on_the_batch_size():
    model, x = vae(terms=elbo_terms(4.0)), images(6)
    noise = model.draw_noise(6, random())
    twice = model(torch.cat([x, x]), noise._replace(posterior=torch.cat([noise.posterior] * 2, dim=1)))
    assert twice.loss.item() == pytest.approx(model(x, noise).loss.item(), rel=1e-5)


def gradients(terms) -> Tensor:
    """The loss's gradient by the encoder's parameters, in double precision."""
    model = vae(terms=terms).double()
    noise = model.draw_noise(6, random())
    noise = type(noise)(*(part.double() for part in noise))
    loss = model(images(6).double(), noise).loss
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.encoder.parameters()))])


def test_beta_weighs_the_gradient_of_the_kl_alone():
    by_distortion, by_kl = gradients({"distortion": Distortion()}), gradients({"kl": KL()})
    assert min(by_distortion.norm(), by_kl.norm()) > 1e-3
    for beta in (0.0, 1.0, 8.0):
        torch.testing.assert_close(gradients(elbo_terms(beta)), by_distortion + beta * by_kl)
