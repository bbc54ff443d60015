"""The KL of a hierarchy, group by group."""

import numpy as np
import pytest
import torch

from builders import latent_stats
from vaelab.models.objectives import GroupKL, Objective
from vaelab.models.requirements import Misfit, check_needs
from vaelab.models.schedules import RampSchedule, set_total_steps

GROUPS = [1, 3]


def by_group(stats) -> np.ndarray:
    kl = stats.kl.numpy().astype(float)
    return np.stack([kl[:, 0], kl[:, 1] + kl[:, 2] + kl[:, 3]], axis=1)


def loss_of(term, stats, step: int = 0) -> float:
    return Objective({"kl": term})(stats, step)[0].item()


def test_without_numbers_of_its_own_it_is_the_rate():
    stats = latent_stats(7)
    term = GroupKL(GROUPS, weight=2.0)
    assert loss_of(term, stats) == pytest.approx(2 * stats.rate.double().mean().item())
    assert term.per_image
    assert "kl per dimension" not in term.needs


def test_each_group_has_its_weight_which_may_be_a_schedule():
    stats, kl = latent_stats(7), by_group(latent_stats(7))
    term = GroupKL(GROUPS, weight=3.0, group_beta=[0.5, RampSchedule(start=0.0, stop=4.0)])
    objective = Objective({"kl": term})
    set_total_steps(objective, 100)
    for step, second in ((0, 0.0), (50, 2.0), (100, 4.0)):
        each = 0.5 * kl[:, 0] + second * kl[:, 1]
        loss, values = objective(stats, step)
        assert loss.item() == pytest.approx(3 * each.mean(), rel=1e-5)
        assert values["kl"].item() == pytest.approx(each.mean(), rel=1e-5)
    np.testing.assert_allclose(objective.per_image(stats).numpy(), 3 * each, rtol=1e-5)


def test_free_bits_are_of_the_whole_group_and_of_the_batch_mean():
    stats, kl = latent_stats(7), by_group(latent_stats(7))
    mean = kl.mean(0)
    floors = [mean[0] + 0.7, mean[1] - 0.4]  # the first group is below its floor
    expected = 2.0 * floors[0] + 0.5 * mean[1]
    term = GroupKL(GROUPS, group_beta=[2.0, 0.5], free_bits=floors)
    assert loss_of(term, stats) == pytest.approx(expected, rel=1e-5)
    assert not term.per_image
    one = float(mean.mean())  # of all groups
    assert loss_of(GroupKL(GROUPS, free_bits=one), stats) == pytest.approx(
        np.maximum(mean, one).sum(), rel=1e-5
    )
    # not a floor of each dimension, which would be met in the second group too
    assert abs(np.maximum(stats.kl.numpy().mean(0), one).sum() - np.maximum(mean, one).sum()) > 0.1


def test_a_group_below_its_floor_gets_no_gradient():
    stats = latent_stats(7)
    kl = stats.kl.clone().requires_grad_()
    loss, _ = Objective({"kl": GroupKL(GROUPS, free_bits=[100.0, 0.1])})(
        stats.replace(kl=kl, rate=kl.sum(1)), 0
    )
    (gradient,) = torch.autograd.grad(loss, kl)
    torch.testing.assert_close(gradient, torch.tensor([0.0, 1, 1, 1]).expand(7, 4) / 7)


def test_its_numbers_need_a_kl_of_each_dimension():
    with pytest.raises(Misfit, match="kl needs a prior that gives each dimension a KL of its own"):
        check_needs({"posterior": Density(), "kl": GroupKL(GROUPS, group_beta=[1.0, 2.0])})
    check_needs({"posterior": Density(), "kl": GroupKL(GROUPS)})


class Density:
    provides, needs = frozenset({"density"}), frozenset()


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ({"group_beta": [1.0]}, "group_beta must have a number for each of the 2 groups"),
        ({"group_beta": [1.0, -0.5]}, "group_beta must be numbers >= 0"),
        ({"free_bits": [1.0, 2.0, 3.0]}, "free_bits must have a number for each of the 2 groups"),
        ({"free_bits": -1.0}, "free_bits must be numbers >= 0"),
    ],
)
def test_what_is_no_number_of_each_group(numbers, reason):
    with pytest.raises(ValueError, match=reason):
        GroupKL(GROUPS, **numbers)
