"""Runs as evaluations see them that were never trained: their models, codes and images are known."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from builders import Planted, elbo_terms, random
from vaelab.data import DataModule, ImageSet, Source, split
from vaelab.evaluation.trained_run import TrainedRun
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import Codes
from vaelab.models.likelihoods import Gaussian
from vaelab.models.objectives import Objective
from vaelab.models.posteriors import DiagonalGaussian
from vaelab.models.priors import StandardNormal


class PlantedRun:
    """A run whose codes are given, by split; ``images``: the test images."""

    def __init__(
        self,
        model: Autoencoder | None,
        codes: dict[str, Codes],
        images: Tensor | None = None,
        data: Any = None,
    ) -> None:
        self.model, self.data, self.device, self.folder = (
            model,
            data,
            torch.device("cpu"),
            Path("runs/planted"),
        )
        self.planted_codes, self.planted_images = codes, images

    def codes(self, split: str, limit: int | None = None) -> Codes:
        return Codes(*(part if part is None else part[:limit] for part in self.planted_codes[split]))

    def images(self, split: str, limit: int | None = None) -> Tensor:
        assert self.planted_images is not None
        return self.planted_images[:limit]

    def progress(self, iterable: Iterable[Any], label: str, total: int | None = None) -> Iterable[Any]:
        return iterable


def codes(z: Tensor, y: Tensor | None = None) -> Codes:
    return Codes(z, torch.zeros_like(z), z, y)


class Rows(nn.Module):
    """A decoder's numbers as an image of one row."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, None, None]


def model_with(
    decoder: nn.Module, latent_dim: int = 4, gain: Tensor | None = None, scale: Tensor | None = None
) -> Autoencoder:
    """q(z|x) = N(gain x, scale^2), by default N(x, 1), and E[x|z] = decoder(z), for images (1, 1, D)."""
    return Autoencoder(
        Planted(
            torch.ones(latent_dim) if gain is None else gain,
            torch.zeros(latent_dim) if scale is None else 2 * scale.log(),
        ),
        nn.Sequential(decoder, Rows()),
        DiagonalGaussian(latent_dim),
        StandardNormal(),
        Gaussian(1.0),
        Objective(elbo_terms()),
    )


def linear_vae(gain: Tensor, scale: Tensor, weight: Tensor) -> Autoencoder:
    """q(z|x) = N(gain x, scale^2), E[x|z] = weight z, pixel by pixel of images (1, 1, D)."""
    decoder = nn.Linear(len(weight), len(weight), bias=False)
    with torch.no_grad():
        decoder.weight.copy_(weight.diag())
    return model_with(decoder, len(weight), gain, scale)


def run_of(
    folder: Path,
    train: ImageSet,
    test: ImageSet,
    model: Autoencoder | None = None,
    val_size: int = 0,
    factor_names: tuple[str, ...] = (),
    binarize: str = "none",
) -> TrainedRun:
    """A run whose images and, if given, model are planted; its codes are the model's."""
    run = TrainedRun(folder / "run", {"dataset": "planted"}, folder / "cache", quiet=True)
    source = Source(train, test, factor_names)
    splits = split(source, val_size=val_size, train_size=None, binarize=binarize)
    run.data = DataModule(splits, batch_size=32, seed=0)
    if model is not None:
        run.model = model.eval().requires_grad_(False)
    return run


def corners(number: int, seed: int = 0) -> ImageSet:
    """Noise (1, 8, 8) with a bright quarter, whose number is the label: 0 to 3."""
    source = random(seed)
    x, y = (
        0.5 * torch.rand((number, 1, 8, 8), generator=source),
        torch.randint(4, (number,), generator=source),
    )
    for image, label in zip(x, y.tolist(), strict=True):
        row, column = divmod(label, 2)
        image[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 0.5
    return ImageSet(x, y)
