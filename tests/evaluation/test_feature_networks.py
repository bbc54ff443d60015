"""Feature networks: what they learn, that they are reproducible, and what is refused."""

import math
import subprocess
import sys
import types

import pytest
import torch
from planted_run import corners, run_of
from torch import nn

from builders import random
from support.chance import SIGMAS
from vaelab.data.images import ImageSet
from vaelab.errors import UserError
from vaelab.evaluation import feature_networks as features
from vaelab.evaluation.feature_networks import (
    ConvFeatures,
    feature_network,
    inception,
    random_features,
    train_classifier,
)


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(features, "STEPS", 40)


def test_the_classifier_classifies(few_steps):
    train, test = corners(300), corners(200, seed=1)
    network, accuracy = train_classifier(train.x, train.y, test.x, test.y)
    assert accuracy > 0.95
    found = network(train.x)
    assert found.shape == (300, features.DIMENSION)
    torch.testing.assert_close(found.mean(0), torch.zeros(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.std(0), torch.ones(64), atol=1e-3, rtol=0)


def test_labels_without_meaning_give_chance(few_steps):
    train, test = corners(300), corners(400, seed=1)
    shuffled = torch.randint(4, (400,), generator=random(2))
    _, accuracy = train_classifier(train.x, train.y, test.x, shuffled)
    assert abs(accuracy - 0.25) <= SIGMAS * math.sqrt(0.25 * 0.75 / 400)


def test_training_is_a_function_of_the_data(few_steps):
    train, test = corners(100), corners(50, seed=1)
    torch.manual_seed(1)
    first, _ = train_classifier(train.x, train.y, test.x, test.y)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second, _ = train_classifier(train.x, train.y, test.x, test.y)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first(test.x), second(test.x))


def test_the_second_call_trains_nothing(tmp_path, few_steps, monkeypatch):
    train, test = corners(200), corners(100, seed=1)
    network = feature_network(run_of(tmp_path, train, test))
    assert network.name.startswith("classifier-planted-")
    assert f"(accuracy {network.accuracy:.3f})" in network.name
    assert network.accuracy > 0.5
    [file] = (tmp_path / "cache" / "features").glob("*.pt")

    def refused(*_):
        raise AssertionError("trained again")

    with monkeypatch.context() as patch:
        patch.setattr(features, "train_classifier", refused)
        again = feature_network(run_of(tmp_path, train, test), "classifier")
        assert (again.name, again.accuracy) == (network.name, network.accuracy)
        assert torch.equal(again(test.x), network(test.x))
        with pytest.raises(AssertionError, match="trained again"):  # other images, another network
            feature_network(run_of(tmp_path, ImageSet(train.x.flip(3), train.y), test))
        with pytest.raises(AssertionError, match="trained again"):
            feature_network(run_of(tmp_path, ImageSet(train.x, 3 - train.y), test))
        patch.setattr(features, "STEPS", 41)
        with pytest.raises(AssertionError, match="trained again"):
            feature_network(run_of(tmp_path, train, test))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="delete it"):
        feature_network(run_of(tmp_path, train, test))


def test_without_labels_features_are_random(tmp_path):
    train, test = ImageSet(corners(20).x), ImageSet(corners(10, seed=1).x)
    run = run_of(tmp_path, train, test)
    network = feature_network(run)
    assert network.name == "random-1x8x8"
    assert math.isnan(network.accuracy)
    assert torch.equal(network(test.x), random_features((1, 8, 8))(test.x))
    with pytest.raises(UserError, match="needs labels"):
        feature_network(run, "classifier")
    with pytest.raises(UserError, match=r"no feature network 'inceptoin'.*Did you mean 'inception'"):
        feature_network(run, "inceptoin")


@pytest.mark.slow
def test_random_features_are_the_same_in_every_process():
    code = (
        "import torch; from vaelab.evaluation.feature_networks import random_features; torch.manual_seed(7);"
        "x = torch.linspace(0, 1, 128).view(2, 1, 8, 8);"
        "print(random_features((1, 8, 8))(x).sum(1).tolist())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = random_features((1, 8, 8))(torch.linspace(0, 1, 128).view(2, 1, 8, 8)).sum(1)
    assert [float(value) for value in out.strip()[1:-1].split(",")] == pytest.approx(here.tolist(), rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (1, 9, 40), (2, 64, 64)])
def test_any_size_of_image(shape):
    x = torch.rand((3, *shape), generator=random())
    found = random_features(shape)(x)
    assert found.shape == (3, features.DIMENSION)
    assert found.dtype == torch.float64
    assert (found.std(0) > 1e-4).all()  # no feature is dead
    # at most 4 x 4 places are left, of 64 channels each
    assert ConvFeatures(shape).layers[-1].in_features <= 1024


def test_of_dynamic_binarisation_one_draw_is_seen(tmp_path):
    train = ImageSet(torch.full((500, 1, 8, 8), 0.25))
    run = run_of(tmp_path, train, train, binarize="dynamic")
    x = run.images("train", 400)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert abs(x.mean() - 0.25) <= SIGMAS * math.sqrt(0.25 * 0.75 / x.numel())
    assert torch.equal(x, run.images("train", 400))
    still = run_of(tmp_path, train, train)
    assert torch.equal(still.images("train", 400), train.x[:400])


class Extractor(nn.Module):
    """As torch-fidelity's: it takes bytes (B, 3, H, W) and gives a tuple."""

    def __init__(self, name, features_list, path):
        super().__init__()
        assert (name, features_list) == ("inception-v3-compat", ["2048"])
        self.load_state_dict(torch.load(path, weights_only=True))

    def forward(self, x):
        assert x.dtype == torch.uint8
        assert x.shape[1:] == (3, 8, 8)
        return (x.float().mean((2, 3)),)


def test_inception_sees_bytes_in_three_channels(tmp_path, monkeypatch):
    module = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Extractor
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.save({}, tmp_path / "weights.pth")
    network = inception(tmp_path / "weights.pth", (-1.0, 1.0))
    assert network.name.startswith("inception-")
    levels = torch.tensor([-1.0, 0.0, 1.0, 2.0])
    grey = levels.view(4, 1, 1, 1).expand(4, 1, 8, 8)
    expected = torch.tensor([0.0, 128.0, 255.0, 255.0], dtype=torch.float64)
    assert torch.equal(network(grey), expected[:, None].expand(4, 3))
    torch.save([1, 2], tmp_path / "wrong.pth")
    with pytest.raises(UserError, match=r"wrong\.pth does not hold InceptionV3's weights"):
        inception(tmp_path / "wrong.pth", (0.0, 1.0))


def test_inception_says_what_it_needs(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="needs weights=FILE"):
        inception(None, (0.0, 1.0))
    with pytest.raises(UserError, match="There are no InceptionV3 weights"):
        inception(tmp_path / "none.pth", (0.0, 1.0))
    torch.save({}, tmp_path / "weights.pth")
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)  # not installed
    with pytest.raises(UserError, match="pip install torch-fidelity"):
        inception(tmp_path / "weights.pth", (0.0, 1.0))
