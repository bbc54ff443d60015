import math

import pytest
import torch

import vaelab
from builders import ae, data_module, images, lit, random, trainer, vae
from cli_runner import Result, small, trained
from support.chance import SIGMAS
from support.stacking import assert_stacked_as_alone
from vaelab.data.digits import load_digits
from vaelab.functional.images import to_float
from vaelab.models.corruption import Corruption, GaussianNoise, MaskingNoise, SaltAndPepperNoise

SHAPE = (1, 4, 4)


def normal(n: int, seed: int = 7) -> torch.Tensor:
    return torch.randn((n, *SHAPE), generator=random(seed))


def corrupting(corruption: Corruption | None, model=None):
    model = model or ae()
    model.corruption = corruption
    return model


# what each one does


def test_gaussian_adds_noise_of_its_standard_deviation():
    x = images(20_000)
    change = GaussianNoise(0.3)(x, normal(len(x))) - x
    n = change.numel()
    assert change.mean().abs() < SIGMAS * 0.3 / math.sqrt(n)
    assert change.std() == pytest.approx(0.3, rel=5 / math.sqrt(2 * n))
    assert abs(torch.corrcoef(torch.stack([change.flatten(), x.flatten()]))[0, 1]) < SIGMAS / math.sqrt(n)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_masking_sets_its_share_to_zero_and_leaves_the_rest(share):
    x = images(20_000) + 1
    masked = MaskingNoise(share)(x, normal(len(x)))
    gone = masked == 0
    assert torch.equal(masked[~gone], x[~gone])
    assert_share(gone, share)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_salt_and_pepper_are_equally_many(share):
    x = images(20_000) * 0.5 + 0.25
    noisy = SaltAndPepperNoise(share, low=-1, high=2)(x, normal(len(x)))
    low, high = noisy == -1, noisy == 2
    assert torch.equal(noisy[~(low | high)], x[~(low | high)])
    assert_share(low, share / 2)
    assert_share(high, share / 2)


def assert_share(chosen: torch.Tensor, share: float) -> None:
    """Of all numbers and of each pixel; and independently: the count of an image is binomial."""
    n, pixels = chosen.numel(), chosen[0].numel()
    assert abs(chosen.float().mean() - share) < SIGMAS * math.sqrt(share * (1 - share) / n)
    each = chosen.float().mean(0)
    assert (each - share).abs().max() < SIGMAS * math.sqrt(share * (1 - share) / len(chosen))
    counts = chosen.flatten(1).sum(1).double()
    variance = pixels * share * (1 - share)
    assert counts.var() == pytest.approx(variance, rel=0.06)  # 5 standard errors of a variance over 20,000


@pytest.mark.parametrize("kind", [GaussianNoise, MaskingNoise, SaltAndPepperNoise])
def test_none_of_it_leaves_the_image_and_all_of_it_nothing(kind):
    x = images(500) + 1
    assert torch.equal(kind(0)(x, normal(500)), x)
    values = kind(1.0)(x, normal(500)).unique().tolist()
    assert values == {MaskingNoise: [0.0], SaltAndPepperNoise: [0.0, 1.0]}.get(kind, values)


@pytest.mark.parametrize("corruption", [GaussianNoise(0.3), MaskingNoise(0.3), SaltAndPepperNoise(0.3)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_images_keep_their_type_or_widen(corruption, dtype):
    """And a share is kept in 16 bits, whose numbers near 1 are hundredths apart."""
    x, noise = images(4000).to(dtype), normal(4000).to(dtype)
    corrupted = corruption.to(dtype)(x, noise)
    assert corrupted.dtype == dtype
    if isinstance(corruption, MaskingNoise):
        assert abs((corrupted == 0).float().mean() - 0.3) < 0.01


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianNoise(-0.1), "sigma must be a finite number >= 0, got -0.1"),
        (lambda: MaskingNoise(1.5), "share must be a finite number >= 0 and <= 1, got 1.5"),
        (lambda: SaltAndPepperNoise(math.nan), "share must be a finite number >= 0 and <= 1, got nan"),
        (lambda: SaltAndPepperNoise(0.5, 1, 0), "low must be below high, got 1 and 0"),
    ],
)
def test_impossible_ones_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


# in the autoencoder


def test_the_encoder_sees_the_corrupted_image_and_the_distortion_the_clean_one():
    model, x = corrupting(SaltAndPepperNoise(0.4)), images(6)
    noise = model.draw_noise(6, random(), image_shape=SHAPE)
    output = model(x, noise)
    seen = SaltAndPepperNoise(0.4)(x, noise.corruption)
    assert not torch.equal(seen, x)
    assert torch.equal(output.stats.loc, model.encoder(seen))
    decoded = model.decoder(output.stats.loc)
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(decoded, x, reduction="none")
    torch.testing.assert_close(output.stats.distortion[0], cross_entropy.flatten(1).sum(1))


def test_without_noise_for_it_nothing_is_corrupted():
    model, plain, x = corrupting(MaskingNoise(0.9)), ae(), images(6)
    plain.load_state_dict(model.state_dict())
    noise = model.draw_noise(6, random())
    assert noise.corruption.numel() == 0
    assert torch.equal(model(x, noise).loss, plain(x, noise).loss)
    assert torch.equal(model.reconstruct(x), plain.reconstruct(x))


def test_it_leaves_the_other_noise_as_it_was():
    """A corrupting model draws last: another's posterior noise, and so its training, stays the same."""
    with_it = corrupting(GaussianNoise(0.3)).draw_noise(5, random(), samples=2, image_shape=SHAPE)
    without = corrupting(None).draw_noise(5, random(), samples=2, image_shape=SHAPE)
    assert with_it.corruption.shape == (5, *SHAPE)
    assert without.corruption.numel() == 0
    assert torch.equal(with_it.posterior, without.posterior)
    assert torch.equal(with_it.prior, without.prior)


@pytest.mark.parametrize(
    ("kind", "values"), [(GaussianNoise, (0.0, 0.3, 1.0)), (MaskingNoise, (0.1, 0.5, 1.0))]
)
def test_runs_that_differ_in_the_corruption_stack(kind, values):
    models = [corrupting(kind(value), vae(seed=k)) for k, value in enumerate(values)]
    noises = [model.draw_noise(6, random(k), image_shape=SHAPE) for k, model in enumerate(models)]
    assert_stacked_as_alone(models, images(6), noises)


class Spy(Corruption):
    """Leaves the images as they are and keeps the noise that it got."""

    def __init__(self) -> None:
        super().__init__()
        self.noises: list[torch.Tensor] = []

    def forward(self, x, noise):
        assert self.training
        self.noises.append(noise.clone())
        return x


def test_in_training_every_step_has_noise_of_its_own_and_validation_has_none(tmp_path):
    spies = Spy(), Spy()
    for spy in spies:
        trainer(tmp_path, max_epochs=2).fit(lit(corrupting(spy)), datamodule=data_module())
    noises = torch.stack(spies[0].noises)
    assert noises.shape == (10, 4, 1, 4, 4)  # five batches an epoch
    assert noises.sum((1, 2, 3, 4)).unique().numel() == 10
    assert torch.equal(noises, torch.stack(spies[1].noises))


# through the command line

LONG = ("trainer.max_epochs=25", "data.train_size=null", "callbacks=none", "network.hidden=[128]")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return trained(tmp_path_factory.mktemp("plain"), "model=ae", *LONG)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper"])
def test_a_denoising_autoencoder_denoises_better_than_a_plain_one(tmp_path, plain, kind):
    """Corrupted held-out digits, reconstructed: the error to the clean ones."""
    denoising = trained(tmp_path / "denoising", "model=denoising_ae", f"model/corruption={kind}", *LONG)
    assert denoising.record["parameters"] == plain.record["parameters"]
    x = to_float(load_digits().test.x)
    models = {name: vaelab.load(result.folder).model for name, result in (("d", denoising), ("p", plain))}
    corrupted = models["d"].corruption(x, torch.randn(x.shape, generator=random(11)))
    error = {name: (model.reconstruct(corrupted) - x).square().mean() for name, model in models.items()}
    clean = {name: (model.reconstruct(x) - x).square().mean() for name, model in models.items()}
    assert error["d"] < 0.9 * error["p"]
    assert error["d"] < (corrupted - x).square().mean()  # and than leaving it as it is
    assert clean["p"] < clean["d"]  # which is what it pays


def test_any_variant_can_be_given_a_corruption(tmp_path):
    result = small(tmp_path, "model=vae", "model/corruption=masking")
    assert result.code == 2
    assert result.err == (
        "vaelab-train: This model has no model/corruption to replace. To give it one: +model/corruption=...\n"
    )
    record = trained(tmp_path, "model=vae", "+model/corruption=masking", "callbacks=none").record
    assert record["config"]["model"]["corruption"]["_target_"] == "vaelab.models.MaskingNoise"
