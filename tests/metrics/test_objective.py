import numpy as np
import pytest
import torch

from builders import random
from vaelab.metrics import Objective


@pytest.mark.parametrize("sizes", [(50,), (1, 19, 30)])
def test_the_mean_and_its_standard_error_over_images_in_any_batches(sizes):
    values = 1e4 + 3 * torch.randn(50, generator=random())  # sums of squares in float32 would lose the spread
    metric = Objective()
    for batch in values.split(list(sizes)):
        metric.update(batch)
    found = {name: value.item() for name, value in metric.compute().items()}
    exact = values.double().numpy()
    assert found["objective"] == pytest.approx(exact.mean(), rel=1e-6)
    assert found["objective_se"] == pytest.approx(exact.std(ddof=1) / np.sqrt(50), rel=1e-4)


def test_what_one_image_or_no_image_has_not():
    metric = Objective()
    metric.update(torch.tensor([3.0]))
    found = metric.compute()
    assert (found["objective"].item(), found["objective_se"].isnan().item()) == (3.0, True)
    metric.update(torch.tensor([torch.nan]))
    assert metric.compute()["objective"].isnan()


def test_states_of_several_processes_are_merged():
    values = torch.randn(30, generator=random())
    whole, first, second = Objective(), Objective(), Objective()
    for metric, part in ((whole, values), (first, values[:10]), (second, values[10:])):
        metric.update(part)
    for state in ("count", "mean", "squares"):  # as torchmetrics gathers states without a reduction
        setattr(whole, state, torch.stack([getattr(first, state), getattr(second, state)]))
    found = whole.compute()
    torch.testing.assert_close(found["objective"], values.mean())
    torch.testing.assert_close(found["objective_se"], values.std() / 30**0.5)
