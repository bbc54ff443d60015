import io
import random

import numpy as np
import pytest
import torch

from vaelab.runs import files
from vaelab.training.checkpoints import AtomicCheckpointIO, random_states, set_random_states


def draws() -> tuple[list[float], list[float], list[float]]:
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)]  # noqa: NPY002


def test_the_generators_go_on_where_they_were():
    before = random_states()
    try:
        np.random.randn()  # noqa: NPY002  leaves half of a pair behind, which belongs to the state
        random.gauss(0, 1)
        written = io.BytesIO()
        torch.save(random_states(), written)
        expected = draws(), np.random.randn()  # noqa: NPY002
        draws()
        set_random_states(torch.load(io.BytesIO(written.getvalue()), weights_only=True))
        assert (draws(), np.random.randn()) == expected  # noqa: NPY002
    finally:
        set_random_states(before)


def test_a_checkpoint_that_could_not_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)
    monkeypatch.setattr(files.os, "fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, path)
    assert AtomicCheckpointIO().load_checkpoint(path, weights_only=True) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
