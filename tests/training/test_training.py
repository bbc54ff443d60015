"""LitAutoencoder in Lightning: determinism, what is logged, held-out numbers, failures."""

import math
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from builders import Recorder, ae, all_metrics, data_module, elbo_terms, lit, random, trainer, vae
from vaelab.data import DataModule, ImageSet, Source, split
from vaelab.errors import UserError
from vaelab.functional.images import to_float
from vaelab.metrics import BitsPerDimension, RateDistortion
from vaelab.models.likelihoods import DiscretizedLogistic
from vaelab.models.schedules import RampSchedule
from vaelab.training.held_out_noise import HeldOutNoise
from vaelab.training.module import LitAutoencoder


def weights(module: LitAutoencoder) -> Tensor:
    return nn.utils.parameters_to_vector(module.model.parameters()).detach()


def fitted(folder: Path, module: LitAutoencoder | None = None, data=None, **options) -> LitAutoencoder:
    module = lit() if module is None else module
    trainer(folder, **options).fit(module, datamodule=data or data_module())
    return module


def evaluated(folder: Path, module: LitAutoencoder, data=None) -> dict[str, Tensor]:
    trainer(folder).test(module, datamodule=data or data_module(), verbose=False)
    return module.results["test"]


# determinism


class Disturbance(pl.Callback):
    """Draws from the global generators, as pictures and metrics may."""

    def on_train_batch_end(self, *_) -> None:
        torch.rand(3)


def test_the_same_seed_gives_the_same_weights(tmp_path):
    start = weights(lit())
    one, other = (weights(fitted(tmp_path)) for _ in range(2))
    assert torch.equal(one, other)
    assert (one - start).abs().max() > 1e-2


def test_another_seed_gives_other_noise_and_other_weights(tmp_path):
    assert not torch.equal(weights(fitted(tmp_path, lit(seed=0))), weights(fitted(tmp_path, lit(seed=1))))


def test_training_noise_depends_on_nothing_else(tmp_path):
    """Not on the global generator, not on validation, not on another run in between."""
    expected = weights(fitted(tmp_path))
    torch.rand(7)
    assert torch.equal(weights(fitted(tmp_path, callbacks=[Disturbance()])), expected)
    assert torch.equal(weights(fitted(tmp_path, limit_val_batches=0)), expected)


def test_every_step_has_its_own_noise(tmp_path):
    """With lr 0 and the same images at every step, the noise alone makes the losses differ."""
    log = Recorder()
    data = data_module(train=8, batch_size=4)
    data.train.x[:] = data.train.x[0]
    fitted(tmp_path, lit(lr=0.0), data, logger=log, max_epochs=3)
    assert len(set(log.values("train/kl"))) == 1
    assert len(set(log.values("train/distortion"))) == 6


# what is logged during training


class Losses(pl.Callback):
    """Keeps the loss of every batch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        self.seen.append(outputs["loss"].item())


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_the_training_loss_is_the_mean_over_the_steps_since_it_was_last_logged(tmp_path):
    log, losses = Recorder(), Losses()
    fitted(tmp_path, logger=log, callbacks=[losses], log_every_n_steps=3)
    x = losses.seen
    assert len(x) == 10  # two epochs of five steps: logged at steps 3, 6, 9 and at the end of an epoch
    expected = [mean(x[0:3]), mean(x[3:5]), x[5], mean(x[6:9]), x[9]]
    assert log.values("train/loss") == pytest.approx(expected, rel=1e-6)
    assert [step for step, values in log.logged if "train/loss" in values] == [3, 5, 6, 9, 10]


def test_the_terms_are_logged_unweighted_beside_the_loss(tmp_path):
    log = Recorder()
    fitted(tmp_path, lit(vae(terms=elbo_terms(4.0))), logger=log)
    loss, distortion, kl = (log.values(f"train/{name}") for name in ("loss", "distortion", "kl"))
    assert len(loss) == len(distortion) == len(kl) == 10
    assert loss == pytest.approx([d + 4 * k for d, k in zip(distortion, kl, strict=True)], rel=1e-5)


def test_accumulated_batches_are_all_in_the_mean(tmp_path):
    log, losses = Recorder(), Losses()
    fitted(
        tmp_path,
        data=data_module(train=32),
        logger=log,
        callbacks=[losses],
        accumulate_grad_batches=2,
        log_every_n_steps=2,
        max_epochs=1,
    )
    batches = [2 * value for value in losses.seen]  # Lightning's outputs are divided by the two
    assert len(batches) == 8
    assert log.values("train/loss") == pytest.approx([mean(batches[:4]), mean(batches[4:])], rel=1e-6)


class StepSpy(nn.Module):
    """A weight that notes the step it is asked for, in training and in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: dict[bool, list[float]] = {True: [], False: []}

    def forward(self, step: int) -> Tensor:
        self.steps[self.training].append(float(step))
        return torch.tensor(1.0)


def test_the_step_counts_optimizer_steps_and_not_validation(tmp_path):
    spy = StepSpy()
    fitted(tmp_path, lit(vae(terms=elbo_terms(spy))))
    assert spy.steps[True] == list(range(10))
    # one batch of validation after each epoch, whose objective has the weight at the end of its schedule
    assert spy.steps[False] == [5, math.inf, 10, math.inf]


# held-out numbers


@pytest.mark.parametrize("size", [1, 5, 16, 256])
def test_held_out_numbers_do_not_depend_on_the_batch_size(tmp_path, size):
    module = lit()
    expected = evaluated(tmp_path, module, data_module(test=40, eval_batch_size=40))
    found = evaluated(tmp_path, module, data_module(test=40, eval_batch_size=size))
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=0, msg=name)


def test_held_out_noise_belongs_to_the_image(tmp_path, monkeypatch):
    """Also past the end of a block of the noise table, which grows as images come."""
    monkeypatch.setattr("vaelab.training.held_out_noise.BLOCK", 8)
    expected = evaluated(tmp_path, lit(), data_module(test=40, eval_batch_size=40))
    found = evaluated(tmp_path, lit(seed=1), data_module(test=40, eval_batch_size=3))
    torch.testing.assert_close(found["distortion"], expected["distortion"], rtol=1e-5, atol=0)


def test_held_out_noise_is_standard_normal_and_differs_by_image_and_split():
    noise = HeldOutNoise(samples=1, latent_dim=3)
    val, test = (noise(split, torch.arange(3000)) for split in ("val", "test"))
    rows = torch.stack([val.posterior[0], val.prior, test.posterior[0], test.prior])  # (4, N, D)
    assert rows.shape == (4, 3000, 3)
    columns = rows.permute(0, 2, 1).flatten(0, 1)  # 12 series of N numbers
    assert (columns.mean(1).abs() < 5 / 3000**0.5).all()
    assert (torch.cov(columns) - torch.eye(12)).abs().max() < 5 * (2 / 3000) ** 0.5
    assert len(val.posterior[0].unique(dim=0)) == 3000


def test_held_out_results_are_those_of_the_model(tmp_path):
    module, data = lit(), data_module()
    found = evaluated(tmp_path, module, data)
    x = to_float(data.test.x)
    noise = module.held_out_noise("test", torch.arange(len(x)))
    stats = module.model.eval()(x, noise).stats
    passes = range(1, int(found["elbo_draws"]))
    noises = [noise, *(module.held_out_noise.of_pass(p, "test", torch.arange(len(x))) for p in passes)]
    distortion = torch.stack([module.model(x, each).stats.distortion[0] for each in noises]).mean(0)
    assert len(noises) > 1
    assert found["rate"].item() == pytest.approx(stats.rate.mean().item(), rel=1e-5)
    assert found["distortion"].item() == pytest.approx(distortion.mean().item(), rel=1e-5)
    assert found["elbo"].item() == pytest.approx(-(stats.rate + distortion).mean().item(), rel=1e-5)
    torch.testing.assert_close(found["kl_per_dim"], stats.kl.mean(0).detach())
    assert found["active_units"] == (stats.loc.var(0, correction=0) > 0.01).sum()


def test_held_out_numbers_are_logged_by_name(tmp_path):
    log = Recorder()
    module = fitted(tmp_path, logger=log)
    names = {"elbo", "rate", "distortion", "active_units", "mse", "kl/dim_00", "kl/dim_01", "kl/dim_02"}
    names |= {"elbo_se", "rate_se", "distortion_se", "elbo_draws"}
    assert {name for name in log.names if name.startswith("val/")} == {f"val/{name}" for name in names}
    assert len(log.values("val/elbo")) == 2
    last = module.results["val"]
    assert log.values("val/elbo")[-1] == pytest.approx(last["elbo"].item())
    assert log.values("val/kl/dim_01")[-1] == pytest.approx(last["kl_per_dim"][1].item())


def test_an_autoencoder_has_no_rate_to_log(tmp_path):
    log, module = Recorder(), lit(ae())
    fitted(tmp_path, module, logger=log)
    results = module.results["val"]
    assert math.isnan(results["rate"])
    assert math.isnan(results["elbo"])
    assert results["kl_per_dim"].isnan().all()
    assert {name for name in log.names if name.startswith("val/")} == {
        "val/distortion",
        "val/distortion_se",
        "val/elbo_draws",
        "val/mse",
        "val/active_units",
    }
    assert {name for name in log.names if name.startswith("train/")} == {"train/loss", "train/distortion"}


# failures and files


@pytest.mark.parametrize("options", [{}, {"log_every_n_steps": 1000, "max_epochs": 1}])
def test_a_nan_image_stops_the_training(tmp_path, options):
    data = data_module()
    data.train.x[3, 0, 1, 1] = math.nan
    with pytest.raises(UserError, match="The training loss became nan in epoch 0"):
        fitted(tmp_path, data=data, limit_val_batches=0, **options)


def test_a_nan_in_validation_is_said(tmp_path):
    data = data_module()
    data.val.x[3, 0, 1, 1] = math.nan
    with pytest.raises(UserError, match="val/distortion became nan"):
        fitted(tmp_path, data=data)


def test_checkpoints_hold_plain_types_and_what_is_needed_to_rebuild(tmp_path):
    extra = {"config": {"seed": 0}, "image_shape": [1, 4, 4]}
    module, run = lit(checkpoint_extra=extra), trainer(tmp_path)
    run.fit(module, datamodule=data_module())
    run.save_checkpoint(tmp_path / "it.ckpt")
    checkpoint = torch.load(tmp_path / "it.ckpt", weights_only=True)
    assert {name: checkpoint["vaelab"][name] for name in extra} == extra
    assert set(checkpoint["state_dict"]) == {f"model.{name}" for name, _ in module.model.named_parameters()}
    other = lit(vae(seed=9))
    other.load_state_dict(checkpoint["state_dict"])
    assert torch.equal(weights(other), weights(module))


@pytest.mark.parametrize("factor", [0.5, RampSchedule(stop=2.0, end=10, unit="steps")])
def test_a_step_is_as_long_as_its_learning_rate_and_factor_say(tmp_path, factor):
    before, lengths = [], []

    class Watch(pl.Callback):
        def on_before_optimizer_step(self, trainer, lit, optimizer):
            before.append((weights(lit), torch.cat([p.grad.flatten() for p in lit.model.parameters()])))

        def on_train_batch_end(self, trainer, lit, *_):
            old, slope = before[-1]
            lengths.append(((old - weights(lit)).norm() / slope.norm()).item())

    module = LitAutoencoder(
        vae(), lambda parts: torch.optim.SGD(parts, lr=0.1), all_metrics(3), seed=0, lr_factor=factor
    )
    fitted(tmp_path, module, max_epochs=1, callbacks=[Watch()])
    expected = [0.05] * 5 if factor == 0.5 else [0.1 * 2 * step / 10 for step in range(5)]
    assert lengths == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-true", "bf16-mixed"])
def test_the_likelihood_sees_each_grey_level_as_it_is(tmp_path, precision):
    """Half precision has no room for 256 levels between 0 and 1; the images' probability needs them all."""
    seen = []

    class Watched(DiscretizedLogistic):
        def log_prob(self, x, decoded):
            seen.append((x, decoded.dtype))
            return super().log_prob(x, decoded)

    grey = torch.randint(256, (40, 1, 4, 4), dtype=torch.uint8, generator=random())
    source = Source(ImageSet(grey[:30]), ImageSet(grey[30:]))
    data = DataModule(split(source, val_size=10, train_size=None), batch_size=15, seed=0)
    metrics = MetricCollection({"rd": RateDistortion(), "bpd": BitsPerDimension()}, compute_groups=False)
    module = LitAutoencoder(vae(likelihood=Watched()), lambda parts: torch.optim.Adam(parts), metrics, seed=0)
    fit = trainer(tmp_path, precision=precision)
    fit.fit(module, datamodule=data)
    fit.test(module, datamodule=data, verbose=False)
    dtype = torch.float64 if precision == "64-true" else torch.float32
    assert {x.dtype for x, _ in seen} == {decoded for _, decoded in seen} == {dtype}
    levels = torch.arange(256) / torch.tensor(255.0)
    assert all(torch.isin(x, levels.to(dtype)).all() for x, _ in seen)
    assert len(torch.cat([x.flatten() for x, _ in seen]).unique()) > 200
    test = module.results["test"]
    expected = -test["elbo"] / (16 * math.log(2))
    torch.testing.assert_close(test["bits_per_dimension"], expected, rtol=1e-3, atol=0)
