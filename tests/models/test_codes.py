import torch
from torch import nn

from builders import Planted, images, random, vae
from support.chance import SIGMAS
from vaelab.data.images import ImageSet
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.ladder import LadderParameters
from vaelab.models.latent_codes import codes_of
from vaelab.models.likelihoods import Gaussian
from vaelab.models.objectives import Distortion, Objective
from vaelab.models.posteriors import DiagonalGaussian
from vaelab.models.priors import StandardNormal


def test_the_codes_are_the_encoders():
    model, x, y = vae(), images(30), torch.arange(30)
    codes = codes_of(model, ImageSet(x, y=y, factors=y[:, None]), limit=20)
    q = model.encode(x[:20])
    torch.testing.assert_close(codes.loc, q.loc)
    torch.testing.assert_close(codes.scale, q.scale)
    assert torch.equal(codes.y, y[:20])
    assert torch.equal(codes.factors, y[:20, None])


def test_samples_are_of_the_posteriors(monkeypatch):
    monkeypatch.setattr("vaelab.models.latent_codes.BATCH", 700)
    log_var = torch.tensor([-1.0, 1.0])
    model = Autoencoder(
        Planted(torch.tensor([2.0, -1.0]), log_var),
        nn.Unflatten(1, (1, 1, 2)),
        DiagonalGaussian(2),
        StandardNormal(),
        Gaussian(1.0),
        Objective({"distortion": Distortion()}),
    )
    codes = codes_of(model, ImageSet(torch.randn(3000, 1, 1, 2, generator=random())))
    noise = (codes.z - codes.loc) / (0.5 * log_var).exp()
    assert noise.mean().abs() < SIGMAS / 6000**0.5
    assert abs(noise.var().item() - 1) < SIGMAS * (2 / 6000) ** 0.5
    assert len(noise[:, 0].unique()) > 2990  # none is used twice, but for chance in 32 bits


def test_the_sample_of_an_image_does_not_depend_on_how_many_follow():
    model, x = vae(), images(40)
    few, many = codes_of(model, ImageSet(x), 40), codes_of(model, ImageSet(torch.cat([x, x])))
    torch.testing.assert_close(few.z, codes_of(model, ImageSet(x)).z)
    assert few.z.shape[0] == 40
    assert many.z.shape[0] == 80


def test_codes_that_are_not_finite_are_left_out():
    x = images(6)
    x[2] = torch.nan
    codes = codes_of(vae(), ImageSet(x, y=torch.arange(6)))
    assert codes.y.tolist() == [0, 1, 3, 4, 5]
    assert codes.loc.isfinite().all()


def test_the_spread_of_all_codes_is_that_of_their_samples():
    """By the law of total variance for Gaussians; along a hierarchy's path of means it does not hold."""
    codes = codes_of(vae(), ImageSet(images(4000)))
    torch.testing.assert_close(codes.spread, codes.z.std(0), rtol=SIGMAS / 8000**0.5, atol=0)
    features = torch.zeros(4000, 1)
    ladder = codes._replace(
        scale=0.5 * codes.scale, q=LadderParameters(codes.loc, codes.scale, codes.scale, features)
    )
    assert ladder.marginal_scale is None
    torch.testing.assert_close(ladder.spread, codes.z.std(0), rtol=1e-3, atol=0)
