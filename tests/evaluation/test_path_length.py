"""Paths between held-out codes, of a model whose decoder is linear or jumps."""

import math

import pytest
import torch
from planted_run import PlantedRun, codes, model_with
from torch import Tensor, nn

from builders import random
from vaelab.evaluation import PathLength
from vaelab.evaluation.feature_networks import FeatureNetwork
from vaelab.evaluation.trained_run import mean_and_error

NAMES = [
    f"{measure}_{path}{suffix}"
    for measure in ("path_length", "detour", "longest_step")
    for path in ("linear", "spherical")
    for suffix in ("", "_se")
]


def linear(dimensions: int = 4) -> nn.Linear:
    decoder = nn.Linear(dimensions, 9, bias=False)
    nn.init.normal_(decoder.weight, generator=random(3))
    return decoder


def test_a_linear_decoder_has_its_closed_form(monkeypatch):
    monkeypatch.setattr("vaelab.evaluation.path_length.CHUNK", 7)
    decoder, z = linear(), torch.randn(41, 4, generator=random())
    found = PathLength(pairs=100)(PlantedRun(model_with(decoder), {"test": codes(z)}))
    metrics, protocol = found["metrics"], found["protocol"]
    assert list(metrics) == NAMES
    moves = (z[1:40:2] - z[0:40:2]) @ decoder.weight.T
    lengths = moves.detach().square().sum(-1)
    assert metrics["path_length_linear"] == pytest.approx(lengths.mean().item(), rel=1e-3)
    error = lengths.std() / math.sqrt(20)
    assert metrics["path_length_linear_se"] == pytest.approx(error.item(), rel=1e-3)
    assert metrics["detour_linear"] == pytest.approx(1, rel=1e-4)
    assert metrics["detour_spherical"] > 1.01
    assert metrics["longest_step_linear"] == pytest.approx(1, rel=1e-4)
    assert metrics["longest_step_spherical"] > 1.01
    assert protocol["pairs"] == 20
    assert protocol["features"] == "pixels"


def test_features_and_the_number_of_pairs_are_those_asked_for():
    decoder, z = linear(), torch.randn(40, 4, generator=random())
    evaluation = PathLength(
        pairs=5, features=FeatureNetwork("first", lambda images: images.flatten(1)[:, :2])
    )
    found = evaluation(PlantedRun(model_with(decoder), {"test": codes(z)}))
    moves = (z[1:10:2] - z[0:10:2]) @ decoder.weight[:2].T
    expected = moves.detach().square().sum(-1).mean().item()
    assert found["metrics"]["path_length_linear"] == pytest.approx(expected, rel=1e-3)
    assert (found["protocol"]["pairs"], found["protocol"]["features"]) == (5, "first")


def test_a_decoder_that_jumps_has_a_longer_step_than_one_that_does_not():
    z = torch.randn(200, 4, generator=random())
    decoder = linear()
    smooth = PathLength()(PlantedRun(model_with(decoder), {"test": codes(z)}))["metrics"]
    steep = nn.Sequential(decoder, Steep())
    jumping = PathLength()(PlantedRun(model_with(steep), {"test": codes(z)}))["metrics"]
    for path in ("linear", "spherical"):
        assert jumping[f"longest_step_{path}"] > 2 * smooth[f"longest_step_{path}"]


class Steep(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (20 * x).tanh()


@pytest.mark.parametrize("n", [0, 1, 3])
def test_fewer_than_two_pairs_have_no_standard_error(n):
    metrics = PathLength()(
        PlantedRun(model_with(linear()), {"test": codes(torch.randn(n, 4, generator=random()))})
    )["metrics"]
    assert list(metrics) == NAMES
    for name, value in metrics.items():
        assert math.isnan(value) == (n < 2 or name.endswith("_se"))


def test_undefined_values_are_left_out_of_a_mean():
    assert mean_and_error("x", torch.tensor([1.0, torch.nan, 3.0])) == {"x": 2.0, "x_se": pytest.approx(1.0)}
