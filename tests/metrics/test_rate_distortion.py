import pytest

from builders import elbo_terms, images, latent_stats, random, vae
from vaelab.metrics import RateDistortion


def test_means_over_images_and_samples():
    stats = latent_stats(50, samples=3)
    metric = RateDistortion()
    metric.update(stats.rate, stats.distortion)
    found = {name: value.item() for name, value in metric.compute().items()}
    rate, distortion = stats.rate.numpy().mean(), stats.distortion.numpy().mean()
    assert found == pytest.approx({"rate": rate, "distortion": distortion, "elbo": -(rate + distortion)})


@pytest.mark.parametrize("beta", [0.0, 1.0, 8.0])
def test_the_elbo_has_no_beta(beta):
    model = vae(terms=elbo_terms(beta))
    output = model(images(5), model.draw_noise(5, random()))
    metric = RateDistortion()
    metric.update(output.stats.rate, output.stats.distortion)
    elbo = metric.compute()["elbo"].item()
    assert elbo == pytest.approx(-(output.terms["distortion"] + output.terms["kl"]).item())
    assert (elbo == pytest.approx(-output.loss.item())) is (beta == 1)
