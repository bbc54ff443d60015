"""The fixed random subset: sorted, without repetition, nested, spread over all positions."""

import pytest
import torch

from vaelab.data import random_subset


@pytest.mark.parametrize(("size", "count", "expected"), [(7, 3, 3), (7, 7, 7), (7, 100, 7), (7, 0, 0)])
def test_the_positions_are_sorted_and_differ(size, count, expected):
    chosen = random_subset(size, count).tolist()
    assert len(chosen) == expected
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(range(size))


def test_a_subset_is_the_same_every_time_and_part_of_larger_ones():
    torch.manual_seed(1)
    first = random_subset(1000, 50)
    torch.manual_seed(2)
    assert torch.equal(random_subset(1000, 50), first)
    assert set(first.tolist()) < set(random_subset(1000, 51).tolist())


def test_it_has_no_preference_for_the_first_positions():
    """The mean of 500 of 10,000 positions is 5,000 with a standard deviation of 2,887 / sqrt(500) = 129."""
    assert abs(random_subset(10_000, 500).double().mean().item() - 4999.5) < 4 * 129
