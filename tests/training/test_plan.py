"""Plans from training images, against closed forms, sampled correlations and optima found numerically."""

import math

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from vaelab.data import DataModule, ImageSet, split
from vaelab.data.augment import Augmentation
from vaelab.data.images import Source
from vaelab.errors import UserError
from vaelab.functional.closed_forms import gaussian_images, linear_beta_vae
from vaelab.functional.reference_curve import ReferenceCurve
from vaelab.models.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian
from vaelab.training.plan import make_plan, thresholds

SPECTRA = (
    [6.0, 3.0, 1.8, 1.0, 0.35, 0.17, 0.08, 0.02],
    [2.0] * 3 + [0.1] * 5,
    [5.0 / k**2 for k in range(1, 13)],
)
NODES, WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(16))
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def module(x: Tensor, **options: object) -> DataModule:
    """All images but one, the last in the set's order of its own, are there for training."""
    source = Source(ImageSet(x), ImageSet(x[:1]))
    return DataModule(split(source, val_size=0, train_size=None, **options), batch_size=10, seed=0)


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("number", [2000, 6])  # more and fewer images than pixels
def test_a_gaussian_plan_is_the_closed_form(spectrum, number):
    pixels = min(len(spectrum), number - 1)
    spectrum = spectrum[:pixels]
    x = torch.from_numpy(gaussian_images(spectrum, number)).reshape(number, 1, 1, pixels)
    data = module(torch.cat([x, torch.full((number, 1, 1, 3), 0.25)], 3))  # three pixels are constant
    found, constant, images = thresholds(Gaussian(0.4), data)
    curve = ReferenceCurve(tuple(found), constant, 4)
    assert images == number
    for beta in (0.7, 2.0, 9.0):
        exact, point = linear_beta_vae([*spectrum, 0, 0, 0], 0.4, beta, 4), curve.at(beta)
        assert point.active_units == exact.active_units
        assert point.rate == pytest.approx(exact.rate, rel=1e-4, abs=1e-5)
        assert point.distortion == pytest.approx(exact.distortion, rel=1e-4)


@pytest.mark.parametrize("likelihood", [Gaussian(0.3), Bernoulli(), ContinuousBernoulli()])
def test_the_curvature_is_minus_the_second_derivative(likelihood):
    x, logits = torch.rand(3, 1, 1, 5).double(), torch.linspace(-6, 6, 5).double().reshape(1, 1, 5)
    hessian = torch.autograd.functional.hessian(
        lambda o: likelihood.log_prob(x, o.expand(1, 3, 1, 1, 5)).sum(), logits
    )
    second = -hessian.reshape(5, 5).diagonal() / 3
    assert torch.allclose(likelihood.curvature(logits).flatten(), second, rtol=1e-4)
    assert not likelihood.curvature(logits).requires_grad


class LinearBernoulli:
    """The best linear encoder and decoder of a Bernoulli likelihood on images x (N, P), found numerically.

    E log p(x|z) is one Gaussian integral for each pixel, by Gauss-Hermite quadrature: nothing is sampled.
    """

    def __init__(self, x: Tensor, dimensions: int, start: float) -> None:
        pixels = x.shape[1]
        draw = torch.Generator().manual_seed(3)
        mean = x.mean(0)
        self.x, self.centred, self.spread = x, (x - mean) / x.std(0), x.std(0)
        shapes = ((dimensions, pixels), (pixels, dimensions))
        self.gain, self.weight = (start * torch.randn(s, generator=draw, dtype=torch.double) for s in shapes)
        self.log_var, self.bias = torch.zeros(dimensions, dtype=torch.double), mean.logit()

    def numbers(self) -> tuple[Tensor, Tensor]:
        """Rate and distortion."""
        code, var = self.centred @ self.gain.T, self.log_var.exp()
        rate = 0.5 * (code.square().mean(0) + var - self.log_var - 1).sum()
        logits, deviation = self.bias + code @ self.weight.T, (self.weight.square() @ var).sqrt()
        softplus = torch.nn.functional.softplus(logits[..., None] + deviation[:, None] * NODES) @ WEIGHTS
        return rate, (softplus - self.x * logits).sum(1).mean()

    def trained(self, beta: float) -> tuple[float, float]:
        parameters = [self.gain, self.weight, self.log_var, self.bias]
        for parameter in parameters:
            parameter.requires_grad_()
        scale = 1 / beta  # the gradients of small betas are small
        search = torch.optim.LBFGS(
            parameters,
            max_iter=400,
            tolerance_grad=1e-9,
            tolerance_change=1e-13,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            search.zero_grad()
            rate, distortion = self.numbers()
            value = scale * distortion + rate
            value.backward()
            return value

        search.step(loss)
        rate, distortion = self.numbers()
        return rate.item(), distortion.item()


def test_a_bernoulli_plan_is_close_where_images_vary_little_around_their_mean():
    draw = torch.Generator().manual_seed(0)
    mean = torch.tensor([0.3, 0.5, 0.6, 0.8], dtype=torch.double)
    mixing = torch.randn(4, 4, generator=draw, dtype=torch.double) * torch.tensor([0.03, 0.02, 0.01, 0.002])
    x = mean + torch.randn(300, 4, generator=draw, dtype=torch.double).clamp(-3, 3) @ mixing.T
    found, constant, _ = thresholds(Bernoulli(), module(x.float().reshape(300, 1, 2, 2)))
    curve = ReferenceCurve(tuple(found), constant, 2)
    for beta in (0.05 * found[0], 0.4 * found[0]):
        expected = curve.at(beta)
        rate, distortion = LinearBernoulli(x, 2, 0.3).trained(beta)
        assert expected.rate > 0.4
        assert rate == pytest.approx(expected.rate, rel=0.02)
        # relative to what there is to be gained
        gain = constant - expected.distortion
        assert constant - distortion == pytest.approx(gain, rel=0.02)


def test_of_binary_pixels_the_thresholds_are_those_of_their_correlations_and_the_largest_is_exact():
    draw = torch.Generator().manual_seed(1)
    cause = torch.rand(600, 1, generator=draw) < 0.35
    noise = torch.rand(600, 4, generator=draw) < torch.tensor([0.1, 0.2, 0.3, 0.45])
    x = (cause ^ noise).double()
    found, _, _ = thresholds(Bernoulli(), module(x.float().reshape(600, 1, 2, 2)))
    expected = np.linalg.eigvalsh(np.corrcoef(x.T.numpy()))[::-1]
    assert found == pytest.approx(list(expected), rel=0.01)
    # far from small deviations: still, the collapsed optimum is left just below this beta, and kept above
    above, _ = LinearBernoulli(x, 1, 0.1).trained(1.04 * found[0])
    below, _ = LinearBernoulli(x, 1, 0.1).trained(0.93 * found[0])
    assert above < 1e-5
    assert below > 0.02


def test_binarised_anew_for_every_batch_or_once_they_have_one_plan():
    x = torch.rand(4000, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    once, again = (thresholds(Bernoulli(), module(x, binarize=how))[0] for how in ("static", "dynamic"))
    # independent pixels: eigenvalues of 1, with deviations of sqrt(6 / 4000) = 0.04 from sampling
    assert max(abs(value - 1) for value in (*once, *again)) < 0.2


def test_mirrored_images_have_the_plan_of_images_that_hold_their_mirror_images():
    x = torch.rand(40, 1, 2, 3, generator=torch.Generator().manual_seed(0)).square()
    mirrored = module(x)
    mirrored.augmentation = Augmentation(flip=True)
    expected, constant, _ = thresholds(Gaussian(0.3), module(torch.cat([x, x.flip(-1)])))
    found, also, images = thresholds(Gaussian(0.3), mirrored)
    assert images == 40
    assert found == pytest.approx(expected, rel=1e-4)
    assert also == pytest.approx(constant, rel=1e-5)
    assert found != pytest.approx(thresholds(Gaussian(0.3), module(x))[0], rel=0.1)


def test_moved_images_have_the_plan_of_all_their_places():
    """Of independent pixels the padding repeats some: the covariance is that of all 9 places."""
    x = torch.rand(3000, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(3)
    places = [(rows + down).clamp(0, 2) for down in (-1, 0, 1)]
    everywhere = torch.cat([x[:, :, down][..., right] for down in places for right in places])
    moved = module(x)
    moved.augmentation = Augmentation(crop=1)
    found, expected = (thresholds(Gaussian(0.3), part)[0] for part in (moved, module(everywhere)))
    assert found == pytest.approx(expected, rel=0.15)  # deviations of sqrt(2 / 3000) = 0.03 from sampling
    assert found[0] > 1.5 * thresholds(Gaussian(0.3), module(x))[0][0], "neighbours are alike"


def config(**changes: object) -> object:
    plain = {
        "seed": 0,
        "model": {"latent_dim": 3},
        "data": {
            "source": {"_target_": "vaelab.data.load_digits"},
            "batch_size": 10,
            "val_size": 0,
            "train_size": 50,
            "binarize": "none",
        },
        "network": {"_target_": "vaelab.models.mlp"},
        "likelihood": {"_target_": "vaelab.models.Gaussian", "sigma": 0.2},
    }
    return OmegaConf.merge(plain, changes)


def test_a_plan_of_a_config_in_plain_types():
    plan = make_plan(config(), latent_dim=3)
    plain = plan.plain()
    assert (plan.images, plan.pixels, plan.exact) == (50, 64, True)
    assert plain["betas"] == plan.betas
    assert set(plan.betas) <= set(plain["curve"]["beta"])
    assert plain["curve"]["active_units"][-1] == 0
    rates, distortions = plain["curve"]["rate"], plain["curve"]["distortion"]
    assert rates == sorted(rates, reverse=True)
    assert distortions == sorted(distortions)
    assert math.isclose(distortions[-1], plan.curve.constant_distortion)
    maps = {"_target_": "vaelab.models.conv_map", "channels": 3, "down": 3}
    assert make_plan(config(network=maps), latent_dim=5).curve.latent_dim == 3
    suggested = make_plan(config())
    assert suggested.curve.latent_dim == suggested.suggested_latent_dim != 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"likelihood": {"_target_": "vaelab.models.LearnedGaussian", "sigma": 1.0}},
            "LearnedGaussian: only with a",
        ),
        (
            {"model": {"condition": {"_target_": "vaelab.models.LabelCondition"}}},
            "no plan for this model.condition",
        ),
        ({"data": {"train_size": 1}}, "all training images are the same"),
    ],
)
def test_what_has_no_plan_is_refused_with_the_reason(changes, message):
    with pytest.raises(UserError, match=message):
        make_plan(config(**changes))
