"""The R = 0 end of a run's curve, and targets that are shares of it."""

import math

import numpy as np
import pytest
import torch

from cli_runner import small, trained
from vaelab.data import DataModule, ImageSet, split
from vaelab.data.images import Source
from vaelab.models.conditions import LabelCondition, Unconditional
from vaelab.models.likelihoods import Bernoulli, Gaussian, LearnedGaussian
from vaelab.training.constant_image import constant_distortions, share_of_distortion


@pytest.fixture
def data() -> DataModule:
    """Binary images of 6 independent pixels with known probabilities."""
    random = torch.Generator().manual_seed(0)
    chance = torch.tensor([0.1, 0.2, 0.5, 0.7, 0.9, 0.02]).reshape(1, 1, 2, 3)
    x = (torch.rand(4000, 1, 2, 3, generator=random) < chance).float()
    splits = split(Source(ImageSet(x)), val_size=500, train_size=None, test_size=1000, binarize="none")
    return DataModule(splits, batch_size=100, seed=0)


def entropy(p: float) -> float:
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def test_of_independent_pixels_it_is_the_sum_of_their_entropies(data: DataModule):
    values = constant_distortions(Bernoulli(), Unconditional(), data, {"test": data.test})["test"]
    expected = sum(map(entropy, (0.1, 0.2, 0.5, 0.7, 0.9, 0.02)))
    assert len(values) == 1000
    assert abs(values.mean().item() - expected) < 4 * values.std().item() / math.sqrt(1000)


def test_a_share_lies_between_a_perfect_reconstruction_and_the_constant_image(data: DataModule):
    no = Unconditional()
    constant = constant_distortions(Bernoulli(), no, data, {"train": data.train})["train"].mean().item()
    assert share_of_distortion(1.0, Bernoulli(), no, data) == pytest.approx(constant, rel=1e-4)
    assert share_of_distortion(0.25, Bernoulli(), no, data) == pytest.approx(0.25 * constant, rel=1e-4)
    sigma, pixels = 0.5, 6
    least = pixels / 2 * math.log(2 * math.pi * sigma**2)
    x = data.train.x
    error = (x - x.mean(0)).square().sum((1, 2, 3)).mean().item() / (2 * sigma**2)
    assert share_of_distortion(0.5, Gaussian(sigma), no, data) == pytest.approx(least + 0.5 * error, rel=1e-4)


@pytest.fixture
def labelled() -> DataModule:
    """Binary images whose pixels depend on the label alone, in 0.1, 0.4 or 0.9 of them; label 3 is rare."""
    random = torch.Generator().manual_seed(0)
    y = torch.randint(3, (6000,), generator=random)
    chance = torch.tensor([0.1, 0.4, 0.9])[y].reshape(-1, 1, 1, 1).expand(-1, 1, 2, 3)
    x = (torch.rand(chance.shape, generator=random) < chance).float()
    test = ImageSet(x[4000:], torch.where(torch.arange(2000) < 20, 3, y[4000:]))
    splits = split(Source(ImageSet(x[:4000], y[:4000]), test), val_size=500, train_size=None)
    return DataModule(splits, batch_size=100, seed=0)


def test_a_conditional_model_has_the_constant_of_each_label(labelled: DataModule):
    """The sum of conditional entropies; a label that no training image has gets the constant of all."""
    parts = {"test": labelled.test}
    values = constant_distortions(Bernoulli(), LabelCondition(3), labelled, parts)["test"]
    of_all = constant_distortions(Bernoulli(), Unconditional(), labelled, parts)["test"]
    y = labelled.test.y
    for label, p in enumerate((0.1, 0.4, 0.9)):
        some = values[y == label]
        # 6 pixels of about 1300 training images: their means are right within 0.004
        assert abs(some.mean().item() - 6 * entropy(p)) < 4 * some.std().item() / math.sqrt(len(some)) + 0.01
    assert torch.equal(values[y == 3], of_all[y == 3])
    share = share_of_distortion(1.0, Bernoulli(), LabelCondition(3), labelled)
    assert share == pytest.approx(2 * sum(map(entropy, (0.1, 0.4, 0.9))), rel=0.03)


def test_labels_share_one_learned_scale(labelled: DataModule):
    """sigma^2 is the mean variance within labels."""
    parts = {"train": labelled.train}
    found = constant_distortions(LearnedGaussian(), LabelCondition(3), labelled, parts)["train"].mean()
    x, y = labelled.train.x, labelled.train.y
    centred = [x[y == label] - x[y == label].mean(0) for label in range(3)]
    variance = torch.cat(centred).square().mean().item()
    assert found.item() == pytest.approx(3 * (math.log(2 * math.pi * variance) + 1), rel=1e-5)


def test_every_run_records_it_with_its_error_and_of_every_image(tmp_path):
    """An autoencoder has it too: it is a matter of data and likelihood."""
    runs = [trained(tmp_path / model, f"model={model}", "callbacks=none") for model in ("vae", "ae")]
    names = ("test/constant_distortion", "val/constant_distortion_se")
    found = [[run.record["metrics"][name] for name in names] for run in runs]
    assert found[0] == found[1]
    with np.load(runs[0].folder / "per_image.npz", allow_pickle=False) as arrays:
        values = arrays["constant_distortion"]
    metrics = runs[0].record["metrics"]
    assert values.mean() == pytest.approx(metrics["test/constant_distortion"], rel=1e-5)
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert metrics["test/constant_distortion_se"] == pytest.approx(error, rel=1e-4)


def test_geco_takes_a_share_of_any_data_and_says_what_it_reached(tmp_path):
    record = trained(tmp_path, "model=geco_vae", "callbacks=none").record
    metrics = record["metrics"]
    least, constant = 13.5, metrics["test/constant_distortion"]  # least: grey digits cost their entropy
    assert metrics["train/distortion_target"] == pytest.approx(0.5 * (least + constant), rel=0.05)
    assert metrics["train/distortion_reached"] > metrics["train/distortion_target"] + 2  # after one epoch
    assert record["verdict"]["reason"].count("target not reached: the distortion of training images is") == 1


def test_a_share_that_means_nothing_is_refused(tmp_path):
    result = small(tmp_path, "model=geco_vae", "likelihood=learned_gaussian")
    assert result.code == 2
    assert "model.target_share=0.5: it is a share" in result.err
    assert "set model.target_distortion" in result.err
    assert small(tmp_path, "model=geco_vae", "model.target_share=0").code == 2


def test_a_model_with_a_share_loads_without_its_data(tmp_path):
    import vaelab

    result = trained(tmp_path, "model=geco_vae", "callbacks=none")
    target = vaelab.load(result.folder).model.objective.terms["distortion"].target(0)
    assert target.item() == pytest.approx(result.record["metrics"]["train/distortion_target"])
