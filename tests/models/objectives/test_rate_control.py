import math

import numpy as np
import pytest
import torch

from builders import Recorder, data_module, images, latent_stats, lit, random, trainer, vae
from support.stacking import assert_stacked_as_alone
from vaelab.models.objectives import KL, Capacity, Constrained, Distortion, FreeBits, Objective
from vaelab.models.objectives.rate_control import Multiplier
from vaelab.models.schedules import RampSchedule
from vaelab.training.module import parameter_groups


def loss_of(term, stats, step: int = 0) -> float:
    loss, _ = Objective({"term": term})(stats, step)
    return loss.item()


def kl_table(stats) -> np.ndarray:
    return stats.kl.numpy().astype(float)


# free bits


def test_free_bits_are_the_sum_of_the_larger_of_floor_and_batch_mean():
    stats = latent_stats(7)
    kl = kl_table(stats)
    floor = float(np.sort(kl.mean(0))[1:3].mean())  # two dimensions below, two above
    expected = 0.0
    for d in range(4):
        mean = sum(kl[n, d] for n in range(7)) / 7
        expected += mean if mean > floor else floor
    assert loss_of(FreeBits(floor, weight=3.0), stats) == pytest.approx(3 * expected, rel=1e-5)
    # neither the floor on each image, nor on the sum
    assert abs(expected - np.maximum(kl, floor).sum(1).mean()) > 0.05
    assert abs(expected - max(4 * floor, kl.sum(1).mean())) > 0.05


def test_a_dimension_below_its_floor_gets_no_gradient():
    stats = latent_stats(7)
    kl = stats.kl.clone().requires_grad_()
    floor = kl.detach().mean(0).sort().values[1:3].mean().item()
    loss, _ = Objective({"kl": FreeBits(floor)})(stats.replace(kl=kl, rate=kl.sum(1)), 0)
    (gradient,) = torch.autograd.grad(loss, kl)
    above = (kl.detach().mean(0) > floor).float()
    assert above.sum() == 2
    torch.testing.assert_close(gradient, above.expand(7, 4) / 7)


# capacity


def test_capacity_has_the_batch_mean_inside_and_follows_its_schedule():
    stats, per_image = latent_stats(7), kl_table(latent_stats(7)).sum(1)
    middle = float(np.median(per_image))  # the mean of the distances to it would be another number
    for capacity in (1.0, middle, 10.0):
        expected = 5 * abs(per_image.mean() - capacity)
        assert loss_of(Capacity(capacity, weight=5.0), stats) == pytest.approx(expected, rel=1e-4)
    term, rate = Capacity(RampSchedule(stop=20.0, end=10, unit="steps")), per_image.mean()
    assert [loss_of(term, stats, step) for step in (0, 5, 10, 99)] == pytest.approx(
        [rate, abs(rate - 10), abs(rate - 20), abs(rate - 20)], rel=1e-5
    )


def test_capacity_pulls_from_both_sides():
    stats = latent_stats(7)
    for capacity, sign in [(0.0, 1.0), (100.0, -1.0)]:
        rate = stats.rate.clone().requires_grad_()
        loss, _ = Objective({"kl": Capacity(capacity)})(stats.replace(rate=rate), 0)
        (gradient,) = torch.autograd.grad(loss, rate)
        torch.testing.assert_close(gradient, torch.full((7,), sign / 7))


# multipliers


@pytest.mark.parametrize(
    "term", [FreeBits(0.5), Capacity(3.0), Constrained("rate", 3.0), Constrained("distortion", 30.0)]
)
def test_the_quantity_itself_is_reported(term):
    stats = latent_stats(7, samples=2)
    _, values = Objective({"term": term})(stats, 0)
    of_distortion = getattr(term, "of", "rate") == "distortion"
    expected = stats.distortion.numpy().mean() if of_distortion else kl_table(stats).sum(1).mean()
    assert values["term"].item() == pytest.approx(expected, rel=1e-6)


def test_the_model_and_the_multiplier_see_opposite_games():
    multiplier = Multiplier(start=2.5)
    for excess, drive in [(3.0, 0.75), (-1.0, -0.5), (0.0, 0.0)]:
        e = torch.tensor(excess, requires_grad=True)
        value = multiplier(e)
        assert value.item() == pytest.approx(2.5 * excess)
        by_model, by_multiplier = torch.autograd.grad(value, [e, multiplier.log_value])
        assert by_model.item() == pytest.approx(2.5)  # the model descends lambda * excess
        assert by_multiplier.item() == pytest.approx(-drive)  # and lambda ascends


def test_a_target_out_of_reach_does_not_carry_the_multiplier_off():
    for excess, limit in [(50.0, 1e4), (-50.0, 1e-4)]:
        multiplier = Multiplier(lr=0.1)
        optimizer = torch.optim.Adam(parameter_groups(multiplier))
        for _ in range(500):
            optimizer.zero_grad()
            multiplier(torch.tensor(excess)).backward()
            optimizer.step()
        assert abs(math.log(multiplier.reading(0).item() / limit)) < 1.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Multiplier(start=0.0), "numbers > 0"),
        (lambda: Multiplier(start=math.inf), "numbers > 0"),
        (lambda: Multiplier(lr=0.0), "numbers > 0"),
        (lambda: Constrained("loss", 3.0), "of must be rate or distortion, got loss"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("optimizer", "steps"), [(torch.optim.Adam, 5000), (torch.optim.SGD, 3000)])
def test_the_multiplier_finds_the_optimal_one(optimizer, steps):
    """min_r (r - 8)^2 subject to r = 3: 2 (r - 8) + lambda = 0, so lambda = 10."""
    r, multiplier = torch.nn.Parameter(torch.tensor(0.0)), Multiplier(lr=0.002)
    descent = optimizer([{"params": [r], "lr": 0.02}, *parameter_groups(multiplier)[1:]], lr=0.1)
    for _ in range(steps):
        descent.zero_grad()
        ((r - 8).square() + multiplier(r - 3)).backward()
        descent.step()
    # Adam's memory makes the two circle around each other for a while
    assert r.item() == pytest.approx(3, abs=0.2)
    assert multiplier.reading(0).item() == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize(("of", "target"), [("rate", 3.0), ("distortion", 30.0)])
def test_the_loss_is_lambda_times_the_excess(of, target):
    stats = latent_stats(7, samples=2)
    mean = getattr(stats, of).double().mean().item()
    found = loss_of(Constrained(of, target, start=0.5), stats)
    assert found == pytest.approx(0.5 * (mean - target), rel=1e-5)


# groups of parameters


def test_a_multiplier_has_a_learning_rate_of_its_own(tmp_path):
    module = lit(vae(terms={"distortion": Distortion(), "kl": Constrained("rate", 2.0, lr=0.5)}), lr=1e-3)
    first, second = module.configure_optimizers().param_groups
    multiplier = module.model.objective.terms["kl"].multiplier
    assert (first["lr"], second["lr"], second["weight_decay"]) == (1e-3, 0.5, 0.0)
    assert [id(p) for p in second["params"]] == [id(multiplier.log_value)]
    assert len(first["params"]) == len(list(module.parameters())) - 1


# in a model


TERMS = {
    "free bits": lambda k: {"distortion": Distortion(), "kl": FreeBits(0.1 + k)},
    "capacity": lambda k: {
        "distortion": Distortion(),
        "kl": Capacity(RampSchedule(stop=k, end=9, unit="steps")),
    },
    "target rate": lambda k: {"distortion": Distortion(), "kl": Constrained("rate", 1.0 + k, start=1.0 + k)},
    "geco": lambda k: {"distortion": Constrained("distortion", 5.0 + k), "kl": KL()},
}


@pytest.mark.parametrize("name", TERMS)
def test_models_that_differ_in_numbers_stack(name):
    models = [vae(terms=TERMS[name](k), seed=k) for k in range(3)]
    assert_stacked_as_alone(models, images(5), [models[0].draw_noise(5, random())] * 3, step=4)


def test_the_schedule_knows_the_length_and_counts_optimizer_steps(tmp_path):
    recorder = Recorder()
    terms = {"distortion": Distortion(), "kl": KL(RampSchedule(stop=1.0))}
    module = lit(vae(terms=terms))
    # 5 batches an epoch, 2 to a step and the last alone: 3 steps an epoch, 12 in all; validation adds none
    options = {"max_epochs": 4, "accumulate_grad_batches": 2, "val_check_interval": 1, "logger": recorder}
    trainer(tmp_path, **options).fit(module, data_module())
    assert module.global_step == 12
    # the epoch's end logs the third step again, where there is something left to log
    found = list(dict.fromkeys(recorder.values("train/kl_weight")))
    assert found == pytest.approx([step / 12 for step in range(12)])
