import pytest
import torch

from vaelab.training.threads import set_threads


@pytest.mark.parametrize(
    ("threads", "reserved", "expected"),
    [
        (None, None, 3),  # torch's own
        (None, 2, 2),
        (None, 8, 3),  # a limit
        (5, 2, 5),
        (5, None, 5),
    ],
)
def test_threads(threads, reserved, expected):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        set_threads(threads, reserved)
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
