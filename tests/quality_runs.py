"""Trained runs that were never trained: a model and images whose sample quality is known."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from builders import Planted, elbo_terms, random
from vaelab.data import DataModule, ImageSet, Source, split
from vaelab.evaluation.trained_run import TrainedRun
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.likelihoods import Gaussian
from vaelab.models.objectives import Objective
from vaelab.models.posteriors import DiagonalGaussian
from vaelab.models.priors import StandardNormal


def run_of(
    folder: Path,
    train: ImageSet,
    test: ImageSet,
    model: Autoencoder | None = None,
    val_size: int = 0,
    factor_names: tuple[str, ...] = (),
    binarize: str = "none",
) -> TrainedRun:
    record: dict[str, Any] = {"dataset": "planted", "config": {"data": {"binarize": binarize}}}
    run = TrainedRun(folder / "run", record, folder / "cache", quiet=True)
    source = Source(train, test, factor_names)
    splits = split(source, val_size=val_size, train_size=None, binarize=binarize)
    run.data = DataModule(splits, batch_size=32, seed=0)
    if model is not None:
        run.model = model.eval().requires_grad_(False)
    return run


def corners(number: int, seed: int = 0, shape: tuple[int, int, int] = (1, 8, 8)) -> ImageSet:
    """Noise with a bright quarter, which is the label: 0 to 3."""
    source = random(seed)
    x, y = 0.5 * torch.rand((number, *shape), generator=source), torch.randint(4, (number,), generator=source)
    half, other = shape[1] // 2, shape[2] // 2
    for image, label in zip(x, y.tolist(), strict=True):
        row, column = divmod(label, 2)
        image[:, row * half : (row + 1) * half, column * other : (column + 1) * other] += 0.5
    return ImageSet(x, y)


def linear_vae(gain: Tensor, scale: Tensor, weight: Tensor) -> Autoencoder:
    """q(z|x) = N(gain x, scale^2), E[x|z] = weight z, pixel by pixel of images (1, 1, D)."""
    decoder = nn.Sequential(nn.Linear(len(weight), len(weight), bias=False), nn.Unflatten(1, (1, 1, -1)))
    with torch.no_grad():
        decoder[0].weight.copy_(weight.diag())
    return Autoencoder(
        Planted(gain, 2 * scale.log()),
        decoder,
        DiagonalGaussian(len(weight)),
        StandardNormal(),
        Gaussian(1.0),
        Objective(elbo_terms()),
    )
