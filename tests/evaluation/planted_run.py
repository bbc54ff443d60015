"""A run as an evaluation sees it, made of a model and codes."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from builders import Planted
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.latent_codes import Codes
from vaelab.models.likelihoods import Gaussian
from vaelab.models.objectives import Distortion, Objective
from vaelab.models.posteriors import DiagonalGaussian
from vaelab.models.priors import StandardNormal


class FakeRun:
    def __init__(self, model: Autoencoder, known: dict[str, Codes]) -> None:
        self.model, self.known, self.device = model, known, torch.device("cpu")

    def codes(self, split: str, limit: int | None = None) -> Codes:
        return Codes(*(part if part is None else part[:limit] for part in self.known[split]))

    def progress(self, iterable: Iterable[Any], label: str, total: int | None = None) -> Iterable[Any]:
        return iterable


def codes(z: Tensor, y: Tensor | None = None) -> Codes:
    return Codes(z, torch.zeros_like(z), z, y)


class Rows(nn.Module):
    """A decoder's numbers as an image of one row."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, None, None]


def model_with(decoder: nn.Module, latent_dim: int = 4) -> Autoencoder:
    """Its mean images are what ``decoder`` makes of z."""
    return Autoencoder(
        Planted(torch.ones(latent_dim), torch.zeros(latent_dim)),
        nn.Sequential(decoder, Rows()),
        DiagonalGaussian(latent_dim),
        StandardNormal(),
        Gaussian(1.0),
        Objective({"distortion": Distortion()}),
    )
