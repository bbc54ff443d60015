import pytest
import torch
from sklearn.metrics import mean_squared_error

from builders import images, random
from vaelab.metrics import ReconstructionError


def test_the_squared_error_per_pixel():
    x = images(5, (2, 4, 6))
    reconstruction = torch.rand(3, 5, 2, 4, 6, generator=random(1))
    metric = ReconstructionError()
    metric.update(x, reconstruction)
    expected = mean_squared_error(x.expand_as(reconstruction).flatten(), reconstruction.flatten())
    assert metric.compute().item() == pytest.approx(expected)
