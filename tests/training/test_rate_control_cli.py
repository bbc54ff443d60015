"""The variants that schedule or control the rate, trained through the command line."""

import csv

import numpy as np
import pytest
import torch

import vaelab
from cli_runner import read_record, run, small, trained
from support.stopper import Stop
from vaelab.models.schedules import readings

DIGITS = ("data=digits", "trainer.accelerator=cpu", "logger=none", "callbacks.samples=null", "seed=0")
TINY = ("data.batch_size=16", "trainer.log_every_n_steps=1")  # 64 images: 4 steps an epoch


def history(folder) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def column(folder, name: str) -> list[float]:
    return [float(row[name]) for row in history(folder)]


# schedules


LAST_STEPS = np.arange(1, 13) * 4 - 1  # of twelve epochs
WEIGHTS = {
    ("model=annealed_vae", "model.beta=3"): 3 * np.minimum(LAST_STEPS / 24, 1),
    ("model=cyclical_vae", "model.beta=2"): 2 * np.minimum(np.mod(LAST_STEPS, 12) / 12 / 0.5, 1),
    ("model=vae", "+schedule@model.beta=cosine", "model.beta.stop=4"): 2
    * (1 - np.cos(np.pi * LAST_STEPS / 48)),
    ("model=vae", "model.beta={_target_: vaelab.models.RampSchedule, stop: 8, end: 16, unit: steps}"): (
        8 * np.minimum(LAST_STEPS / 16, 1)
    ),
}


@pytest.mark.parametrize("settings", WEIGHTS, ids=" ".join)
def test_the_weight_of_the_kl_follows_its_closed_form(tmp_path, settings):
    folder = trained(tmp_path, *settings, "trainer.max_epochs=-1", "trainer.max_steps=48", *TINY).folder
    assert column(folder, "train/kl_weight") == pytest.approx(WEIGHTS[settings], rel=1e-5, abs=1e-5)


def test_the_learning_rate_follows_its_factor(tmp_path):
    settings = ("+schedule@model.lr_factor=cosine", "model.lr_factor.start=1", "model.lr_factor.stop=0")
    folder = trained(tmp_path, "model=geco_vae", *settings, "trainer.max_epochs=3", *TINY).folder
    factor = 0.5 * (1 + np.cos(np.pi * np.arange(12) / 12))
    assert column(folder, "train/lr_factor") == pytest.approx(factor[3::4], rel=1e-5)
    [optimizer] = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["optimizer_states"]
    rates = [group["lr"] for group in optimizer["param_groups"]]  # of the network and of the multiplier
    assert rates == pytest.approx([1e-3 * factor[-1], 1e-2 * factor[-1]], rel=1e-5)


def test_a_schedule_counts_optimizer_steps(tmp_path):
    settings = ("model=annealed_vae", "trainer.accumulate_grad_batches=2", "trainer.max_epochs=4", *TINY)
    folder = trained(tmp_path, *settings).folder
    assert column(folder, "step") == [2, 4, 6, 8]
    assert column(folder, "train/kl_weight") == pytest.approx([0.25, 0.75, 1, 1])


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (("model=annealed_vae",), "kl_weight"),
        (("model=vae", "+schedule@model.lr_factor=linear"), "lr_factor"),
    ],
)
def test_a_share_of_a_training_without_end_is_refused(tmp_path, settings, name):
    result = small(tmp_path, *settings, "trainer.max_epochs=-1")
    assert result.code == 2
    assert f"schedule {name} counts in shares of the training, which has no end" in result.err
    assert "Traceback" not in result.err


# resume


@pytest.mark.parametrize("model", ["cyclical_vae", "target_rate_vae", "capacity_vae"])
def test_a_run_that_goes_on_ends_as_one_that_was_not_stopped(tmp_path, model):
    def go(name: str):
        settings = (f"model={model}", "trainer.max_epochs=4", "callbacks.last.every_minutes=0", *TINY)
        stop = ("+callbacks.stop._target_=support.stopper.Stop", f"hydra.run.dir={tmp_path / name}")
        return small(tmp_path, *settings, *stop), tmp_path / name

    _, undisturbed = go("undisturbed")
    try:
        Stop.at("train_batch_end", 7)
        stopped, folder = go("stopped")
        assert stopped.code == 130
    finally:
        Stop.at(None)
    again, _ = go("stopped")
    assert again.code == 0, again.err
    assert read_record(folder)["metrics"] == read_record(undisturbed)["metrics"]
    assert (folder / "history.csv").read_text() == (undisturbed / "history.csv").read_text()
    one, other = (torch.load(f / "checkpoints/last.ckpt", weights_only=True) for f in (folder, undisturbed))
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name


def test_a_multiplier_comes_back_with_its_model(tmp_path):
    result = trained(tmp_path, "model=geco_vae", "trainer.max_epochs=3", *TINY)
    shown = readings(vaelab.load(result.folder).model, 0)
    assert shown.keys() == {"distortion_multiplier"}
    logged = column(result.folder, "train/distortion_multiplier")[-1]
    assert logged != 1.0
    assert shown["distortion_multiplier"].item() == pytest.approx(logged, rel=0.011)  # a step later


# where the rate ends


def ended(tmp_path, *settings: str):
    result = run(tmp_path, *DIGITS, *settings)
    assert result.code == 0, result.err
    # a quantity that is driven to a target does not say which weights are best
    weights = "best" if "model=vae" in settings else "last"
    assert result.record["weights"] == f"checkpoints/{weights}.ckpt"
    return result, result.record["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("target", [pytest.param(6.0, marks=pytest.mark.exhaustive), 12.0])
def test_the_target_rate_is_met(tmp_path, target):
    result, metrics = ended(
        tmp_path, "model=target_rate_vae", f"model.target_rate={target}", "trainer.max_epochs=30"
    )
    assert metrics["train/kl"] == pytest.approx(target, rel=0.05)
    assert metrics["test/rate"] == pytest.approx(target, rel=0.05)
    assert column(result.folder, "train/kl_multiplier")[-1] == metrics["train/kl_multiplier"]
    assert metrics["train/rate_target"] == target
    assert metrics["train/rate_reached"] == pytest.approx(target, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("target", [pytest.param(19.0, marks=pytest.mark.exhaustive), 23.0])
def test_geco_meets_its_distortion(tmp_path, target):
    result, metrics = ended(
        tmp_path, "model=geco_vae", f"model.target_distortion={target}", "trainer.max_epochs=30"
    )
    assert metrics["val/distortion"] == pytest.approx(target, rel=0.03)
    assert metrics["train/distortion"] == pytest.approx(target, rel=0.03)
    assert metrics["train/distortion_target"] == target
    assert metrics["train/distortion_reached"] == pytest.approx(target, rel=0.03)
    assert result.record["verdict"]["label"] in ("healthy", "pruned")


SHORT = ("data.batch_size=16", "optimizer.lr=1e-2", "trainer.check_val_every_n_epoch=100", "callbacks=none")


@pytest.mark.slow
def test_a_target_in_reach_is_recorded_as_reached(tmp_path):
    """240 steps towards 24 nats; the best constant image has 27.4."""
    settings = ("model=geco_vae", "model.target_distortion=24", "trainer.max_epochs=60", *SHORT)
    record = trained(tmp_path, *settings).record
    metrics = record["metrics"]
    reached, error = (metrics[f"train/distortion_reached{end}"] for end in ("", "_se"))
    assert metrics["train/distortion_target"] == 24
    assert 0.2 < error < 1  # of 64 images
    assert metrics["test/constant_distortion"] - 2 > 24 + 2 * error > reached
    assert record["verdict"]["label"] in ("healthy", "pruned")
    assert "target" not in record["verdict"]["reason"]


@pytest.mark.parametrize(
    ("of", "settings"),
    [
        # grey digits cost 13.5 nats however they are reconstructed
        ("distortion", ("model=geco_vae", "model.target_distortion=10")),
        ("rate", ("model=target_rate_vae", "model.target_rate=200")),
    ],
)
def test_a_target_out_of_reach_is_recorded_as_missed(tmp_path, of, settings):
    record = trained(tmp_path, *settings, "trainer.max_epochs=2", *SHORT).record
    target, reached = (record["metrics"][f"train/{of}_{name}"] for name in ("target", "reached"))
    assert target == float(settings[1].partition("=")[2])
    assert record["metrics"][f"train/{of}_reached_se"] > 0
    text = f"target not reached: the {of} of training images is {reached:.2f} nats, the target {target:.2f}"
    assert text in record["verdict"]["reason"]
    assert record["verdict"]["label"] in ("off target", "untrained", "collapsed")


@pytest.mark.slow
@pytest.mark.parametrize("capacity", [pytest.param(3.0, marks=pytest.mark.exhaustive), 20.0])
def test_the_rate_ends_at_its_capacity_with_all_defaults(tmp_path, capacity):
    result, metrics = ended(tmp_path, "model=capacity_vae", f"model.capacity={capacity}")
    reached, error = (metrics[f"train/rate_reached{end}"] for end in ("", "_se"))
    assert metrics["train/rate_target"] == capacity
    assert reached == pytest.approx(capacity, abs=max(0.02 * capacity, 2 * error))
    assert result.record["verdict"]["label"] != "off target"
    for split in ("val", "test"):  # the training images are led to C; others differ by chance, 6e-5 beyond it
        errors = np.hypot(error, metrics[f"{split}/rate_se"])
        assert metrics[f"{split}/rate"] == pytest.approx(reached, abs=4 * errors), split
    # C rises for half of the training, and the rate with it
    rate, wanted = (np.array(column(result.folder, f"train/{name}")) for name in ("kl", "kl_capacity"))
    assert wanted[:15] == pytest.approx(capacity * (np.arange(1, 16) - 0.05) / 15, rel=1e-4)
    assert np.abs(rate - wanted)[5:].max() < 0.5 + 0.1 * capacity


@pytest.mark.slow
def test_free_bits_leave_no_dimension_below_its_floor(tmp_path):
    floor, settings = 0.5, ("optimizer.lr=4e-3", "model.latent_dim=8", "trainer.max_epochs=30")
    _, plain = ended(tmp_path / "plain", "model=vae", *settings)
    _, free = ended(tmp_path / "free", "model=free_bits_vae", f"model.free_bits={floor}", *settings)
    # what the batch means jump about, on other images
    assert min(free["val/kl_per_dim"]) > 0.9 * floor
    assert min(plain["val/kl_per_dim"]) < 0.5 * floor


# what does not fit


BETA = "model.beta={_target_: vaelab.models.RampSchedule, "


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("model=vae", f"{BETA}stop: 1, unit: steps}}"), "kl.weight.end is missing"),
        (("model=vae", f"{BETA}top: 1}}"), "no key 'model.objective.kl.weight.top'. Did you mean 'stop'?"),
        (("model=vae", "+schedule@model.beta=linear", "model.beta.begin=2"), "kl.weight.begin must be"),
        (("model=free_bits_vae", "prior=mog"), "needs a prior that gives each dimension a KL"),
        (("model=free_bits_vae", "model.free_bits=-1"), "model.free_bits=-1: must be"),
        (
            ("model=capacity_vae", "model.posterior._target_=vaelab.models.Deterministic"),
            "model.objective.kl needs a posterior with a density",
        ),
        (("model=geco_vae", "model.objective.distortion.lr=0"), "start and lr must be numbers > 0"),
    ],
)
def test_a_combination_that_makes_no_sense_is_refused(tmp_path, settings, message):
    result = small(tmp_path, *settings)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err
    assert len(result.err.strip().splitlines()) <= 3
