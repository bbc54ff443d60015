"""data.scale: against scikit-learn's scalers, by the training images alone, and back."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from vaelab.data import ImageSet, Source, scaling, split
from vaelab.data.scaling import Scaled, Scaling
from vaelab.functional import images

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(50, 6)) * np.logspace(-3, 5, 6) + np.logspace(0, 4, 6)
TABLE[:, 2] = 7.0  # a constant column
SCALERS = {"standardize": StandardScaler(), "minmax": MinMaxScaler()}


@pytest.mark.parametrize("mode", SCALERS)
def test_columns_of_a_table_are_scaled_as_by_scikit_learn(mode: str):
    x = torch.tensor(TABLE).reshape(50, 1, 1, 6)
    scaling = Scaling.of(mode, x)
    found = scaling.apply(x)
    assert found.dtype == torch.float32
    assert np.allclose(found[:, 0, 0].numpy(), SCALERS[mode].fit_transform(TABLE), atol=1e-4)
    assert torch.allclose(scaling.undo(found).double(), x, rtol=1e-4)
    assert Scaling.from_plain(scaling.plain()) == scaling


def test_images_are_scaled_channel_by_channel():
    x = torch.tensor(RANDOM.normal(size=(30, 3, 4, 5)) * [[[2]], [[5]], [[0]]] + 40, dtype=torch.float32)
    found = Scaling.of("standardize", x).apply(x)
    assert found.mean((0, 2, 3)).abs().max() < 1e-4
    assert torch.allclose(found.std((0, 2, 3), correction=0), torch.tensor([1.0, 1.0, 0.0]), atol=1e-4)
    grey = torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8)
    assert Scaling.of("minmax", grey) == ("minmax", [0.0], [1.0])  # grey levels are in [0, 1] before


@pytest.mark.parametrize("mode", SCALERS)
def test_the_statistics_are_those_of_the_training_images(mode: str):
    x = torch.tensor(RANDOM.normal(3, 2, (100, 1, 2, 2)), dtype=torch.float32)
    test = ImageSet(x[:20] * 100)
    plain = split(Source(ImageSet(x), test), val_size=30, train_size=40)
    scaled = split(Source(ImageSet(x), test), val_size=30, train_size=40, scale=mode)
    assert plain.scaling is None
    assert scaled.scaling == Scaling.of(mode, plain.train.x)
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(scaled, part).x, scaled.scaling.apply(getattr(plain, part).x))
    values = scaled.train.x
    if mode == "minmax":
        assert values.aminmax() == (0, 1)
    else:
        assert abs(values.mean()) < 1e-5
    assert scaled.value_range[1] > 50 * values.max() / 4


@pytest.mark.parametrize("mode", SCALERS)
def test_the_statistics_do_not_depend_on_the_parts_that_are_read(mode: str, monkeypatch):
    far = torch.tensor(RANDOM.normal(1000, 0.01, (300, 2, 4, 4)), dtype=torch.float32)
    far[:, 1] = 0.1  # a constant channel
    whole = Scaling.of(mode, far)
    assert whole.spread[1] == 1
    numbers = far[:, 0].numpy().astype(float)
    expected = np.ptp(numbers) if mode == "minmax" else numbers.std()
    assert whole.spread[0] == pytest.approx(expected, rel=1e-6)
    monkeypatch.setattr(images, "CHUNK", 70)
    monkeypatch.setattr(scaling, "MOST", 32 * 11)
    assert Scaling.of(mode, far) == whole


class Lazy:
    """Stored images that are given when asked for, and counted."""

    dtype = torch.uint8

    def __init__(self, x: torch.Tensor) -> None:
        self.x, self.shape, self.given = x, x.shape, 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
        self.given += len(index)
        return self.x[index]


@pytest.mark.parametrize("mode", SCALERS)
def test_lazy_images_are_read_once_and_then_scaled_as_in_memory(mode: str, monkeypatch):
    monkeypatch.setattr("vaelab.data.splits.MATERIALISE_LIMIT", 0)
    x = torch.tensor(RANDOM.integers(20, 200, (90, 2, 4, 4)), dtype=torch.uint8)
    read = Lazy(x)
    lazy, stored = (
        split(Source(ImageSet(pool), ImageSet(pool)), val_size=30, train_size=40, scale=mode)
        for pool in (read, x)
    )
    assert read.given == 40  # the training images, for their statistics
    assert lazy.scaling == stored.scaling
    index = torch.tensor([7, 2, 7])
    for part in ("train", "val", "test"):
        found, expected = getattr(lazy, part).x, getattr(stored, part).x
        assert isinstance(found, Scaled)
        assert (found.dtype, found.shape, len(found)) == (torch.float32, expected.shape, len(expected))
        assert torch.equal(found[index], expected[index])
    assert (lazy.digest, lazy.value_range) == (stored.digest, stored.value_range)


def test_what_can_not_be_scaled_is_refused():
    source = Source(ImageSet(torch.rand(20, 1, 2, 2)))
    with pytest.raises(ValueError, match="scale=minmax is for values, but binarize=static"):
        split(source, val_size=2, train_size=None, binarize="static", scale="minmax")
    with pytest.raises(ValueError, match="scale must be one of none, standardize, minmax, got 'log'"):
        split(source, val_size=2, train_size=None, scale="log")
