import pytest
import torch

from builders import vae
from cli_runner import small
from vaelab.training.threads import forward_flops, set_threads
from vaelab.types import Batch


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


def test_the_operations_are_those_of_the_matrix_products():
    model = vae()
    products = [layer.weight.numel() for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    image = Batch(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))
    assert forward_flops(model, image) == 2 * sum(products)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), 1),
        (("model=multi_rate_vae",), 1),
        (("threads=2",), 2),
        (("network.hidden=[4000,4000]", "trainer.max_steps=1"), 3),
    ],
)
def test_a_small_model_is_trained_by_one_thread_unless_said(tmp_path, monkeypatch, settings, expected):
    found = []
    monkeypatch.setattr(
        "vaelab.training.fit.load_chosen_weights", lambda *_: found.append(torch.get_num_threads())
    )
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        small(tmp_path, "callbacks=none", *settings)
    finally:
        torch.set_num_threads(before)
    assert found == [expected]
