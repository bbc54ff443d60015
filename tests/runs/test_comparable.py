"""Which settings bear on a result."""

import pytest

from vaelab.runs.comparable import bears_on_result, comparable, differences


@pytest.mark.parametrize(
    "keys",
    [
        "model.beta seed data data.path data.rooted trainer.max_epochs callbacks.best.monitor names",
        "callbacks.collapse.stop callbacks.mine",  # what may end or change a training
    ],
)
def test_what_may_change_a_number(keys):
    assert all(map(bears_on_result, keys.split()))


@pytest.mark.parametrize(
    "keys",
    [
        "threads paths.data data.root data.source.root sweep.name name logger.mode hydra.launcher",
        "trainer.enable_progress_bar callbacks.last.every_minutes callbacks.samples callbacks.samples.images",
    ],
)
def test_what_changes_none(keys):
    assert not any(map(bears_on_result, keys.split()))


def test_a_config_is_compared_flat_and_in_jsons_types():
    before = comparable({"x": 1.0, "y": (1, 2), "threads": 1, "data": {"root": "a", "path": None}})
    assert before == {"x": 1.0, "y": [1, 2], "data.path": None}
    assert not list(
        differences(before, comparable({"x": 1, "y": [1, 2], "data": {"root": "b", "path": None}}))
    )


def test_differences_are_named_with_both_values():
    before, now = {"a": 1, "b": 2, "gone": 3}, {"a": 1, "b": 4, "new": [5]}
    assert list(differences(before, now)) == [
        "b: 2 before, 4 now",
        "gone: 3 before, absent now",
        "new: absent before, [5] now",
    ]
