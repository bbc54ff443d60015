import pytest
import torch
from torch import Tensor, nn

from builders import elbo_terms, images, latent_stats, random, vae
from vaelab.models.objectives import KL, Distortion, Objective, Term


class Ramp(nn.Module):
    """A schedule that is a tenth of the step."""

    def forward(self, step: int) -> Tensor:
        return torch.tensor(step / 10)


class Volume(Term):
    """A term of a shape of its own: one number for the batch."""

    def forward(self, stats, step) -> Tensor:
        return stats.z.square().sum()


def test_the_loss_is_the_weighted_sum_of_means_over_images():
    stats = latent_stats(7, samples=3)
    loss, values = Objective({"distortion": Distortion(0.5), "kl": KL(4.0)})(stats, 0)
    distortion, rate = stats.distortion.numpy().mean(), stats.kl.numpy().sum(1).mean()
    assert values["distortion"].item() == pytest.approx(distortion)
    assert values["kl"].item() == pytest.approx(rate)  # unweighted
    assert loss.item() == pytest.approx(0.5 * distortion + 4 * rate)


def test_a_term_may_be_one_number_for_the_batch():
    stats = latent_stats(7)
    loss, values = Objective({"volume": Volume(2.0)})(stats, 0)
    assert values["volume"].item() == pytest.approx(stats.z.square().sum().item())
    assert loss.item() == pytest.approx(2 * values["volume"].item())


def test_a_null_term_is_left_out():
    stats = latent_stats(7)
    loss, values = Objective({"distortion": Distortion(), "kl": None})(stats, 0)
    assert list(values) == ["distortion"]
    assert loss.item() == pytest.approx(stats.distortion.mean().item())


@pytest.mark.parametrize("terms", [{}, {"kl": None}])
def test_an_objective_needs_a_term(terms):
    with pytest.raises(ValueError, match="has no terms"):
        Objective(terms)


def test_a_weight_may_follow_the_step():
    stats = latent_stats(7)
    objective = Objective({"distortion": Distortion(), "kl": KL(Ramp())})
    for step in (0, 5, 20):
        loss, values = objective(stats, step)
        assert loss.item() == pytest.approx((values["distortion"] + step / 10 * values["kl"]).item())


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
