import numpy as np
import pytest
import torch

from builders import random
from vaelab.metrics import Objective


@pytest.mark.parametrize("sizes", [(50,), (1, 19, 30)])
def test_the_mean_and_its_standard_error_over_images_in_any_batches(sizes):
    values = 1e4 + 3 * torch.randn(50, generator=random())  # sums of squares in float32 would lose the spread
    metric = Objective()
    for batch, position in zip(values.split(list(sizes)), torch.arange(50).split(list(sizes)), strict=True):
        metric.update(batch, position)
    found = {name: value.item() for name, value in metric.compute().items()}
    exact = values.double().numpy()
    assert found["objective"] == pytest.approx(exact.mean(), rel=1e-6)
    assert found["objective_se"] == pytest.approx(exact.std(ddof=1) / np.sqrt(50), rel=1e-4)


def test_what_one_image_or_no_image_has_not():
    metric = Objective()
    metric.update(torch.tensor([3.0]), torch.tensor([0]))
    found = metric.compute()
    assert (found["objective"].item(), found["objective_se"].isnan().item()) == (3.0, True)
    metric.update(torch.tensor([torch.nan]), torch.tensor([1]))
    assert metric.compute()["objective"].isnan()
