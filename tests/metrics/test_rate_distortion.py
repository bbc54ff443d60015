import numpy as np
import pytest
import torch

from builders import elbo_terms, images, latent_stats, random, vae
from support.chance import SIGMAS
from vaelab.metrics import RateDistortion


def test_means_over_images_and_samples_with_their_standard_errors():
    stats = latent_stats(50, samples=3)
    metric = RateDistortion()
    metric.update(stats.rate, stats.distortion, torch.arange(50))
    found = {name: value.item() for name, value in metric.compute().items()}
    rate, distortion = stats.rate.double().numpy(), stats.distortion.double().numpy().mean(0)
    values = {"rate": rate, "distortion": distortion, "elbo": -(rate + distortion)}
    expected = {name: value.mean() for name, value in values.items()}
    expected |= {f"{name}_se": value.std(ddof=1) / np.sqrt(50) for name, value in values.items()}
    draws, error = found.pop("elbo_draws"), found.pop("elbo_mc_se")
    assert found == pytest.approx(expected)
    assert draws == 3
    assert np.isnan(error)  # unknown of one pass
    one = RateDistortion()
    one.update(stats.rate[:1], stats.distortion[:, :1], torch.arange(1))
    assert one.compute()["elbo_se"].isnan()


def test_the_errors_keep_their_digits_for_large_numbers():
    """Sums of squares of 1e5-sized values in float32 would lose a spread of 3 wholly."""
    values = 1e5 + 3 * torch.randn(1, 400, generator=random())
    metric = RateDistortion()
    for part in torch.arange(400).split(64):
        metric.update(torch.zeros(len(part)), values[:, part], part)
    found = metric.compute()
    exact = values[0].double()
    assert found["elbo_se"].item() == pytest.approx(exact.std().item() / 20, rel=1e-4)
    assert found["distortion"].item() == pytest.approx(exact.mean().item(), abs=0.02)


@pytest.mark.parametrize("sizes", [[60], [7] * 8 + [4]])
def test_passes_are_averaged_image_by_image(sizes):
    """Images 1e4 + 5 a_n with noise 2 e_np in pass p: the errors are those of the means over passes."""
    number, passes, source = 60, 5, random()
    noise = 2 * torch.randn(passes, 1, number, generator=source)
    distortion = 1e4 + 5 * torch.randn(number, generator=source) + noise
    metric = RateDistortion()
    batches = torch.arange(number).split(sizes)
    rate = torch.zeros(number)
    for part in batches:
        metric.update(rate[part], distortion[0][:, part], part)
    for place, part in enumerate(batches):
        for each in distortion[1:]:
            metric.refine(place, rate=rate[part], distortion=each[:, part], kl=None)
    found = {name: value.item() for name, value in metric.compute().items()}
    values = distortion[:, 0].double().numpy()
    mean = values.mean(0)
    assert found["elbo"] == pytest.approx(-mean.mean(), rel=1e-6)
    assert found["elbo_se"] == pytest.approx(mean.std(ddof=1) / np.sqrt(number), rel=1e-3)
    within = values.var(0, ddof=1) / passes
    assert found["elbo_mc_se"] == pytest.approx(np.sqrt(within.mean() / number), rel=1e-3)
    assert found["elbo_mc_se"] == pytest.approx(  # 2 / sqrt(passes * number), from 240 squares
        2 / np.sqrt(passes * number), rel=SIGMAS / np.sqrt(2 * (passes - 1) * number)
    )
    assert found["elbo_draws"] == passes
    np.testing.assert_allclose(metric.rates.distortion, mean, rtol=1e-6)


@pytest.mark.parametrize("beta", [0.0, 1.0, 8.0])
def test_the_elbo_has_no_beta(beta):
    model = vae(terms=elbo_terms(beta))
    output = model(images(5), model.draw_noise(5, random()))
    metric = RateDistortion()
    metric.update(output.stats.rate, output.stats.distortion, torch.arange(5))
    elbo = metric.compute()["elbo"].item()
    assert elbo == pytest.approx(-(output.terms["distortion"] + output.terms["kl"]).item())
    assert (elbo == pytest.approx(-output.loss.item())) is (beta == 1)
