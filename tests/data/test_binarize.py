import pytest
import torch

from vaelab.data.binarize import MODES, Binarized, binarize
from vaelab.data.images import ImageSet, Source
from vaelab.data.splits import split
from vaelab.functional import images
from vaelab.functional.randomness import generator


class Read:
    """Grey images that are made when asked for, of one value each; counts what it has made."""

    dtype = torch.uint8

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values.to(torch.uint8)
        self.shape = (len(values), 1, 8, 8)
        self.made = 0

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
        self.made += len(index)
        return self.values[index].view(-1, 1, 1, 1).expand(-1, 1, 8, 8)


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


@pytest.mark.parametrize("mode", ["threshold", "static", "dynamic"])
def test_lazy_images_are_binarised_when_they_are_read_and_an_image_is_always_the_same(mode):
    grey = Read(torch.arange(256))
    drawn = binarize(grey, mode, "train")
    assert (drawn.dtype, drawn.shape, len(drawn), grey.made) == (torch.bool, (256, 1, 8, 8), 256, 0)
    index = torch.tensor([200, 3, 128, 3])
    whole = drawn[torch.arange(256)]
    assert whole.dtype == torch.bool
    assert torch.equal(drawn[index], whole[index])
    assert torch.equal(drawn[index[:0]], whole[:0])
    if mode == "threshold":
        assert torch.equal(whole, (torch.arange(256) > 127).view(-1, 1, 1, 1).expand(-1, 1, 8, 8))


def test_static_draws_of_lazy_images_have_them_as_their_mean_and_differ():
    drawn = binarize(Read(torch.full((400,), 51)), "static", "train")[torch.arange(400)]
    # 4 standard errors of a mean of 25,600 draws; of 64 means of 400, 5
    assert abs(drawn.float().mean() - 0.2) < 4 * 0.4 / 160
    assert (drawn.float().mean(0) - 0.2).abs().max() < 5 * 0.4 / 20
    assert len(drawn.flatten(1).unique(dim=0)) == 400
    other = binarize(Read(torch.full((400,), 51)), "static", "test")[torch.arange(400)]
    assert not torch.equal(drawn, other)


@pytest.mark.parametrize("mode", ["threshold", "static", "dynamic"])
def test_a_large_set_stays_lazy_and_a_small_one_has_the_same_images_in_memory(mode, monkeypatch):
    def made(limit: int) -> tuple:
        monkeypatch.setattr("vaelab.data.splits.MATERIALISE_LIMIT", limit)
        grey = Read(torch.arange(200))
        source = Source(ImageSet(grey, torch.arange(200)), ImageSet(Read(torch.arange(50))))
        return split(source, val_size=40, train_size=None, binarize=mode), grey

    lazy, grey = made(0)
    assert grey.made == 0
    stored, _ = made(10**6)
    for part, same in ((lazy.train, stored.train), (lazy.val, stored.val), (lazy.test, stored.test)):
        index = torch.arange(len(part))
        assert not isinstance(part.x, torch.Tensor)
        assert torch.equal(part.x[index], same.x[index])
        assert torch.equal(part.y[index], same.y[index]) if part.y is not None else same.y is None
    assert isinstance(stored.train.x, torch.Tensor)
    assert lazy.train.x.dtype == (torch.uint8 if mode == "dynamic" else torch.bool)
    assert isinstance(lazy.val.x.images, Binarized)
