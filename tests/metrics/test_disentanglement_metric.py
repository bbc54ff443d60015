import numpy as np
import pytest
import torch

from vaelab.functional.disentanglement import factor_vae_score, mig
from vaelab.metrics import Disentanglement


def data(number: int = 240) -> tuple[torch.Tensor, torch.Tensor]:
    index = torch.arange(number)
    factors = torch.stack([index % 3, index // 3 % 4], dim=1)
    noise = torch.randn(number, 3, generator=torch.Generator().manual_seed(0))
    return torch.cat([factors.float(), torch.zeros(number, 1)], dim=1) + 0.3 * noise, factors


@pytest.mark.parametrize("size", [7, 240])
def test_the_metric_is_the_function_of_all_images(size):
    loc, factors = data()
    metric = Disentanglement()
    for part in torch.arange(240).split(size):
        metric.update(loc[part], factors[part])
    found = metric.compute()
    assert found["mig"].item() == pytest.approx(mig(loc, factors).score)
    assert found["factor_vae"].item() == pytest.approx(factor_vae_score(loc, factors).score)
    assert set(found) == {
        *("mig", "modularity", "modularity_of_active"),
        *("irs", "irs_active_dimensions", "factor_vae", "factor_vae_active_dimensions"),
    }


def test_the_first_images_are_taken():
    loc, factors = data()
    metric = Disentanglement(images=100, metrics=["mig"])
    for part in torch.arange(240).split(64):
        metric.update(loc[part], factors[part])
    assert metric.compute()["mig"].item() == pytest.approx(mig(loc[:100], factors[:100]).score)
    metric.reset()
    metric.update(loc[200:], factors[200:])
    assert metric.compute()["mig"].item() == pytest.approx(mig(loc[200:], factors[200:]).score)


def test_constant_factors_are_left_out():
    loc, factors = data()
    metric = Disentanglement(metrics=["mig"])
    metric.update(loc, torch.cat([factors, torch.full((240, 1), 5)], dim=1))
    assert metric.compute()["mig"].item() == pytest.approx(mig(loc, factors).score)


@pytest.mark.parametrize("why", ["no factors", "one dimension", "not finite", "nothing varies"])
def test_it_is_undefined(why):
    loc, factors = data()
    if why == "one dimension":
        loc = loc[:, :1]
    elif why == "not finite":
        loc = loc * np.nan
    elif why == "nothing varies":
        factors = factors * 0
    metric = Disentanglement(metrics=["mig", "irs"])
    metric.update(loc, None if why == "no factors" else factors)
    found = metric.compute()
    assert set(found) == {"mig", "irs", "irs_active_dimensions"}
    assert all(value.isnan() for value in found.values())


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="must be among"):
        Disentanglement(metrics=["beauty"])
