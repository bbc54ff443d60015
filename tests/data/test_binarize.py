import pytest
import torch

from vaelab.data.binarize import MODES, binarize
from vaelab.functional import images
from vaelab.functional.randomness import generator


def test_threshold_cuts_above_one_half():
    grey = torch.tensor([0, 127, 128, 255], dtype=torch.uint8).view(4, 1, 1, 1)
    assert binarize(grey, "threshold", "train").flatten().tolist() == [False, False, True, True]
    floats = torch.tensor([0.0, 0.5, 0.5001, 1.0]).view(4, 1, 1, 1)
    assert binarize(floats, "threshold", "train").flatten().tolist() == [False, False, True, True]


def test_none_and_binary_images_are_left_alone():
    x = torch.randn(4, 1, 2, 2)
    assert binarize(x, "none", "train") is x
    binary = x > 0
    assert all(binarize(binary, mode, "train") is binary for mode in MODES)


def test_static_draws_have_the_images_as_their_mean_and_differ_between_images():
    probabilities = torch.linspace(0, 1, 11)
    x = probabilities.view(1, 1, 1, 11).repeat(20_000, 1, 1, 1)
    drawn = binarize(x, "static", "train")
    assert drawn.dtype == torch.bool
    # 5 standard errors of a mean of 20,000 draws are at most 0.018
    assert (drawn.float().mean(0).flatten() - probabilities).abs().max() < 0.018
    assert not drawn[..., 0].any()
    assert drawn[..., -1].all()
    # ... and so are 5 of a correlation 0.035: pixels are drawn independently
    between = torch.corrcoef(drawn.flatten(1)[:, 1:-1].float().T) - torch.eye(9)
    assert between.abs().max() < 0.035


def test_static_draws_repeat_and_are_another_stream_for_another_set():
    x = torch.rand(300, 1, 4, 4, generator=generator(0, "test"))
    first = binarize(x, "static", "train")
    assert torch.equal(first, binarize(x, "static", "train"))
    assert not torch.equal(first, binarize(x, "static", "test"))
    torch.manual_seed(1)  # the global generator has no part in it
    assert torch.equal(first, binarize(x, "static", "train"))
    assert torch.equal(first, binarize(x, "dynamic", "train")), "held-out images take the static draw"


@pytest.mark.parametrize("mode", ["threshold", "static", "dynamic"])
def test_values_outside_the_unit_interval_are_refused(mode):
    x = torch.tensor([-1.0, 0.0, 16.0]).view(3, 1, 1, 1)
    with pytest.raises(ValueError, match=rf"^binarize={mode} needs values in \[0, 1\].*from -1 to 16"):
        binarize(x, mode, "train")


def test_chunks_do_not_repeat_their_draws(monkeypatch):
    monkeypatch.setattr(images, "CHUNK", 10)
    drawn = binarize(torch.full((20, 1, 8, 8), 0.5), "static", "train")
    assert not torch.equal(drawn[:10], drawn[10:])
