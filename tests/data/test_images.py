import pytest
import torch

from vaelab.data.images import ImageSet, Selection, check_finite
from vaelab.errors import UserError
from vaelab.functional import images
from vaelab.functional.images import map_images, to_float, value_range


class Rendered:
    """Grey images made when asked for: image i is filled with i. Counts what it has made."""

    dtype = torch.uint8

    def __init__(self, size: int = 200) -> None:
        self.shape = (size, 1, 2, 3)
        self.made = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
        self.made += len(index)
        return index.to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 3)


def test_scaling_is_exact_for_every_stored_type():
    grey = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_float(grey), torch.arange(256).float() / 255)
    assert torch.equal(grey, torch.arange(256, dtype=torch.uint8)), "the stored images must not change"
    assert to_float(torch.tensor([False, True])).tolist() == [0.0, 1.0]
    floats = torch.tensor([-3.5, 0.0, 7.25])
    assert torch.equal(to_float(floats), floats)
    assert all(to_float(x).dtype == torch.float32 for x in (grey, grey.bool(), floats))


def test_a_batch_is_direct_indexing():
    x, y, factors = torch.randn(10, 3, 4, 5), torch.arange(10), torch.randn(10, 2)
    index = torch.tensor([7, 0, 7])
    batch = ImageSet(x, y, factors).batch(index)
    assert torch.equal(batch.x, x[index])
    assert torch.equal(batch.y, y[index])
    assert torch.equal(batch.factors, factors[index])
    assert torch.equal(batch.position, index)
    assert ImageSet(x).batch(index)[1:3] == (None, None)
    assert ImageSet(x).image_shape == (3, 4, 5)


def test_a_subset_of_rendered_images_renders_nothing_until_asked():
    rendered = Rendered()
    subset = ImageSet(rendered, torch.arange(200)).subset(torch.arange(100, 200))
    assert isinstance(subset.x, Selection)
    assert (rendered.made, len(subset), subset.x.shape) == (0, 100, (100, 1, 2, 3))
    again = subset.subset(torch.tensor([5, 99]))
    batch = again.batch(torch.tensor([1, 0]))
    assert batch.x[:, 0, 0, 0].tolist() == [199, 105] == batch.y.tolist()
    assert rendered.made == 2


def test_materialising_keeps_the_images_and_respects_the_limit():
    lazy = ImageSet(Rendered(), torch.arange(200))
    assert lazy.materialise(200 * 6 - 1) is lazy
    stored = lazy.materialise(200 * 6)
    assert isinstance(stored.x, torch.Tensor)
    assert stored.x.dtype == torch.uint8
    assert torch.equal(stored.x[:, 0, 0, 0].long(), torch.arange(200))
    assert stored.y is lazy.y
    assert stored.materialise(0) is stored


@pytest.mark.parametrize("chunk", [1, 7, 200, 1000])
def test_a_whole_set_is_passed_through_in_order_whatever_the_chunk(monkeypatch, chunk):
    monkeypatch.setattr(images, "CHUNK", chunk)
    assert torch.equal(map_images(Rendered(), lambda part: part)[:, 0, 0, 0].long(), torch.arange(200))
    assert value_range(Rendered()) == (0.0, pytest.approx(199 / 255))


def test_values_that_are_not_finite_are_counted():
    x = torch.zeros(5, 1, 2, 2)
    check_finite(x, "the set")
    x[1, 0, 0, 0], x[4, 0, 1, 1], x[4, 0, 0, 0] = torch.nan, torch.inf, -torch.inf
    with pytest.raises(UserError, match=r"^the set has 3 values that are NaN or infinite"):
        check_finite(x, "the set")
