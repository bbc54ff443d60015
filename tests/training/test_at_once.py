"""Several optimizer steps in a turn of Lightning's loop: the same training, step by step."""

import pytest
import torch

from builders import Recorder, data_module, elbo_terms, lit, trainer, vae
from cli_runner import trained
from vaelab.cli.compose import composed
from vaelab.errors import UserError
from vaelab.models.schedules import RampSchedule
from vaelab.training.at_once import SLOW, USUAL, steps_at_once
from vaelab.training.callbacks import Clock, StopAfterSteps


def fitted(folder, at_once, **options):
    """Two epochs of five steps, of which each has other weights of the loss and other learning rates."""
    ramp, falling = RampSchedule(2.0, end=0.8), RampSchedule(0.1, start=1.0, end=0.8)
    module, log, data = lit(vae(terms=elbo_terms(ramp)), lr_factor=falling), Recorder(), data_module()
    data.batches_at_once = at_once
    made = trainer(folder, logger=log, log_every_n_steps=2, **options)
    made.fit(module, datamodule=data)
    return module, log, made


@pytest.mark.parametrize("at_once", [2, 3, 5, 10])
def test_the_steps_are_the_same(tmp_path, at_once):
    one, log, single = fitted(tmp_path, 1)
    several, log_of_several, made = fitted(tmp_path, at_once)
    assert made.global_step == single.global_step == 10
    assert made.num_training_batches == -(-5 // at_once)
    state, other = one.state_dict(), several.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)
    assert log_of_several.logged == log.logged
    assert [step for step, values in log.logged if "train/loss" in values] == [2, 4, 5, 6, 8, 10]
    assert log.values("train/lr_factor")[-1] == pytest.approx(0.1)


@pytest.mark.parametrize("steps", [3, 7])
def test_the_last_step_may_be_within_a_turn(tmp_path, steps):
    clock = Clock()
    one, *_ = fitted(tmp_path, 1, callbacks=[StopAfterSteps(steps)])
    several, _, made = fitted(tmp_path, 4, callbacks=[StopAfterSteps(steps), clock])
    assert made.global_step == steps
    assert clock.images == 4 * steps
    state, other = one.state_dict(), several.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("model=vq_vae_ema", "model.revive_below=0.8", "prior=fitted_codes"),
        pytest.param(("model=factor_vae", "data.binarize=dynamic"), marks=pytest.mark.exhaustive),
        ("model=multi_rate_vae", "model.betas=[0.5,2]", "optimizer=adamw"),
        pytest.param(("model=geco_vae", "trainer.max_steps=7"), marks=pytest.mark.exhaustive),
    ],
)
def test_a_run_has_the_same_record(tmp_path, settings):
    """Whatever has a state of its own: codes, a discriminator, gates, a multiplier."""
    size = ("data.batch_size=16", "trainer.max_epochs=2")  # of 64 images: four steps an epoch
    common = (*settings, *size, "trainer.log_every_n_steps=3", "callbacks=no_pictures")
    results = [trained(tmp_path / n, *common, f"steps_at_once={n}", f"name=at{n}") for n in ("1", "3")]
    records = [result.record for result in results]
    assert records[0]["metrics"] == records[1]["metrics"]
    assert records[0]["metrics"]["train/steps"] > 3


def config(*settings):
    return composed("train", list(settings))


def test_ten_steps_unless_a_setting_or_a_callback_counts_turns():
    assert steps_at_once(config(), 1e6) == USUAL
    assert steps_at_once(config("trainer.max_steps=7", "trainer.check_val_every_n_epoch=2"), 1e6) == USUAL
    assert steps_at_once(config("steps_at_once=3"), 1e12) == 3
    assert steps_at_once(config(), 2 * SLOW) == 1
    for setting in (
        "trainer.accumulate_grad_batches=2",
        "trainer.gradient_clip_val=1",
        "trainer.val_check_interval=0.5",
        "trainer.limit_train_batches=2",
        "trainer.overfit_batches=2",
        "trainer.precision=16-mixed",
        "trainer.devices=2",
        "trainer=smoke",
        "+callbacks.mine._target_=support.stopper.Stop",
        "+callbacks.best.every_n_train_steps=100",
    ):
        assert steps_at_once(config(setting), 1e6) == 1, setting
    assert steps_at_once(config("+callbacks.mine._target_=support.stopper.Stop", "steps_at_once=3"), 1e6) == 3


def test_several_steps_are_refused_where_lightning_carries_out_the_step(tmp_path):
    with pytest.raises(UserError, match=r"steps_at_once=4: trainer.gradient_clip_val=1 needs a turn"):
        steps_at_once(config("steps_at_once=4", "trainer.gradient_clip_val=1"), 1e6)
    assert steps_at_once(config("steps_at_once=1", "trainer.gradient_clip_val=1"), 1e6) == 1
