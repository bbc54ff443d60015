"""A test file that is sorted by class: its first images are of one class, and must not stand for the rest."""

from pathlib import Path

import pytest
import torch
from planted_run import linear_vae, run_of

from builders import random
from support.chance import SIGMAS
from vaelab.data.images import ImageSet
from vaelab.evaluation import LatentSpace, TrainedRun
from vaelab.metrics import DecoderTest

N, FEW, SCALE = 2000, 500, 0.3


def pixels(number: int, seed: int) -> torch.Tensor:
    """x such that z ~ N(x, SCALE^2) is N(0, I) over all images: the model below has no hole."""
    return (1 - SCALE**2) ** 0.5 * torch.randn(number, 1, 1, 2, generator=random(seed))


def by_class(x: torch.Tensor) -> ImageSet:
    """Sorted by class, which is the octant of the plane."""
    octant = (torch.atan2(x[..., 0], x[..., 1]).flatten() * 4 / torch.pi).floor().long()
    order = octant.argsort()
    return ImageSet(x[order], octant[order] + 4)


@pytest.fixture
def run(tmp_path: Path) -> TrainedRun:
    model = linear_vae(torch.ones(2), torch.full((2,), SCALE), torch.ones(2))
    return run_of(tmp_path, by_class(pixels(N, 0)), by_class(pixels(N, 1)), model)


def in_file_order(run: TrainedRun, folder: Path) -> TrainedRun:
    """The run as it was measured before: the test images as they lie in the file."""
    old = run_of(folder, by_class(pixels(N, 0)), by_class(pixels(N, 1)), run.model)
    old.data.test = by_class(pixels(N, 1))
    return old


def shuffle_gap(run: TrainedRun) -> tuple[float, float]:
    test = DecoderTest(FEW)
    x, z = run.images("test", FEW), run.codes("test", FEW).z

    def distortion(z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return (z - x[rows].flatten(1)).square().sum(-1) / 2

    test.update(torch.arange(FEW), z[None], z, distortion(z, torch.arange(FEW))[None], distortion)
    values = test.compute()
    return values["shuffle_gap"].item(), values["shuffle_gap_se"].item()


def test_some_images_stand_for_all(run, tmp_path):
    """E |z_m - x_n|^2 / 2 - |z_n - x_n|^2 / 2 = 2 (1 - SCALE^2) for independent n and m: 1.82."""
    metrics, old = LatentSpace(FEW)(run)["metrics"], in_file_order(run, tmp_path)
    gap, error = shuffle_gap(run)
    # a share of N that is 1.3% on average, of the images and of the prior draws, as independent shares
    bound = SIGMAS * 2**0.5 * (metrics["hole_rate_null"] / FEW) ** 0.5
    assert abs(metrics["hole_rate"] - metrics["hole_rate_null"]) < bound
    assert abs(gap - 2 * (1 - SCALE**2)) < SIGMAS * error
    assert LatentSpace(FEW)(old)["metrics"]["hole_rate"] > 0.3, "two octants of eight"
    wrong, error = shuffle_gap(old)
    assert wrong < 2 * (1 - SCALE**2) - 2 * SIGMAS * error


def test_the_first_images_hold_all_classes_as_the_split_does(run):
    """Counts without replacement: hypergeometric, each within SIGMAS of its standard deviations."""
    for split in ("train", "test"):
        labels, all_labels = run.labels(split, FEW), run.labels(split)
        share = all_labels.bincount(minlength=8) / N
        deviation = (FEW * share * (1 - share) * (N - FEW) / (N - 1)).sqrt()
        assert ((labels.bincount(minlength=8) - FEW * share).abs() < SIGMAS * deviation).all()


def test_the_whole_split_is_the_file(run):
    file = by_class(pixels(N, 1))
    rows = run.data.test.x.flatten(1)
    assert torch.equal(rows[rows[:, 0].argsort()], file.x.flatten(1)[file.x[..., 0].flatten().argsort()])
    octant = by_class(run.data.test.x)
    assert torch.equal(octant.y, run.labels("test").sort().values), "labels went with their images"
    assert torch.equal(run.images("test", FEW), run.images("test")[:FEW])
