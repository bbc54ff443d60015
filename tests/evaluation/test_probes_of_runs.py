"""Probes of codes that hold one factor and not another."""

import math

import pytest
import torch
from planted_run import corners, linear_vae, run_of

from builders import random, vae
from support.chance import SIGMAS
from vaelab.data.images import ImageSet
from vaelab.evaluation import NotApplicable, Probes


def planted_codes(number: int, seed: int) -> ImageSet:
    """The first pixel's sign is a label and a factor, the second factor is nowhere in the image."""
    x = torch.randn(number, 1, 1, 3, generator=random(seed))
    y = (x[:, 0, 0, 0] > 0).long()
    x[:, 0, 0, 0] += 2 * x[:, 0, 0, 0].sign()
    factors = torch.stack([y, torch.randint(2, (number,), generator=random(seed + 100))], dim=1)
    return ImageSet(x, y, factors)


def test_probes_read_what_the_codes_hold(tmp_path):
    model = linear_vae(torch.ones(3), torch.ones(3), torch.ones(3))
    train, test = planted_codes(300, 0), planted_codes(400, 1)
    names = ("sign", "nothing")
    both = Probes()(run_of(tmp_path, train, test, model, factor_names=names))
    found = both["metrics"]
    assert found["probe_accuracy"] == found["probe_accuracy_sign"] > 0.99
    assert found["knn_accuracy"] == found["knn_accuracy_sign"] > 0.99
    bound = SIGMAS * math.sqrt(0.25 / 400)
    assert abs(found["probe_accuracy_nothing"] - 0.5) <= bound
    assert abs(found["knn_accuracy_nothing"] - 0.5) <= bound
    assert abs(found["majority_accuracy"] - 0.5) <= bound
    assert found["probe_accuracy_nothing_se"] == pytest.approx(bound / SIGMAS, rel=0.05)
    assert both["protocol"]["classes"] == "labels"

    train, test = ImageSet(train.x, factors=train.factors), ImageSet(test.x, factors=test.factors)
    factors = Probes()(run_of(tmp_path, train, test, model, factor_names=names))
    mean = (found["probe_accuracy_sign"] + found["probe_accuracy_nothing"]) / 2
    assert factors["metrics"]["probe_accuracy"] == pytest.approx(mean)
    assert factors["protocol"]["classes"] == "factors, mean over sign, nothing"
    limited = Probes(train=50, test=20)(run_of(tmp_path, train, test, model, factor_names=names))
    assert (limited["protocol"]["train"], limited["protocol"]["test"]) == (50, 20)


def test_values_of_factors_need_not_be_whole_but_few(tmp_path):
    model = linear_vae(torch.ones(3), torch.ones(3), torch.ones(3))
    train, test = planted_codes(300, 0), planted_codes(100, 1)
    sets = []
    for images in (train, test):
        quantity = torch.rand(len(images), 1, generator=random())
        sets.append(ImageSet(images.x, factors=torch.cat([images.factors[:, :1] / 3, quantity], dim=1)))
    result = Probes()(run_of(tmp_path, *sets, model, factor_names=("third", "quantity")))
    assert result["metrics"]["probe_accuracy"] == result["metrics"]["probe_accuracy_third"] > 0.98
    assert result["protocol"]["factors"] == "third"
    sets = [ImageSet(images.x, factors=images.factors[:, 1:]) for images in sets]
    with pytest.raises(NotApplicable):
        Probes()(run_of(tmp_path, *sets, model, factor_names=("quantity",)))


def test_what_is_the_same_for_all_images_counts_in_no_mean(tmp_path):
    model = linear_vae(torch.ones(3), torch.ones(3), torch.ones(3))
    train, test = planted_codes(300, 0), planted_codes(100, 1)
    one = [torch.full((len(images), 1), 4) for images in (train, test)]
    names = ("sign", "one", "nothing")

    def with_one(images: ImageSet, value: torch.Tensor) -> ImageSet:
        factors = torch.cat([images.factors[:, :1], value, images.factors[:, 1:]], dim=1)
        return ImageSet(images.x, factors=factors)

    sets = [with_one(*pair) for pair in zip((train, test), one, strict=True)]
    found = Probes()(run_of(tmp_path, *sets, model, factor_names=names))
    accuracy = found["metrics"]
    mean = (accuracy["probe_accuracy_sign"] + accuracy["probe_accuracy_nothing"]) / 2
    assert accuracy["probe_accuracy"] == pytest.approx(mean)
    assert "probe_accuracy_one" not in accuracy
    assert (found["protocol"]["factors"], found["protocol"]["constant"]) == ("sign, nothing", "one")
    sets = [ImageSet(images.x, value[:, 0], value) for images, value in zip((train, test), one, strict=True)]
    with pytest.raises(NotApplicable, match="the same for all images: labels, one"):
        Probes()(run_of(tmp_path, *sets, model, factor_names=("one",)))


def test_without_classes_there_is_nothing_to_probe(tmp_path):
    images = ImageSet(corners(20).x)
    with pytest.raises(NotApplicable, match="neither labels nor factors"):
        Probes()(run_of(tmp_path, images, images, vae(image_shape=(1, 8, 8))))
