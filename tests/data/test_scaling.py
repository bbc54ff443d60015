"""data.scale: against scikit-learn's scalers, by the training images alone, and back."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from vaelab.data import ImageSet, Source, split
from vaelab.data.scaling import Scaling

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


def test_what_can_not_be_scaled_is_refused():
    source = Source(ImageSet(torch.rand(20, 1, 2, 2)))
    with pytest.raises(ValueError, match="scale=minmax is for values, but binarize=static"):
        split(source, val_size=2, train_size=None, binarize="static", scale="minmax")
    with pytest.raises(ValueError, match="scale must be one of none, standardize, minmax, got 'log'"):
        split(source, val_size=2, train_size=None, scale="log")
