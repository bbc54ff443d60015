"""Small models, data and metrics that several tests share."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn
from torchmetrics import MetricCollection

from vaelab.data import DataModule, ImageSet, Source, split
from vaelab.metrics import ActiveUnits, KLPerDimension, RateDistortion, ReconstructionError
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.likelihoods import Bernoulli
from vaelab.models.networks import mlp
from vaelab.models.objectives import KL, Distortion, Objective
from vaelab.models.posteriors import Deterministic, DiagonalGaussian
from vaelab.models.priors import StandardNormal
from vaelab.training.module import LitAutoencoder
from vaelab.training.precision import own_precision
from vaelab.types import LatentStats


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def elbo_terms(beta: Any = 1.0) -> dict[str, Any]:
    return {"distortion": Distortion(), "kl": KL(beta)}


def vae(
    latent_dim: int = 3,
    image_shape: tuple[int, int, int] = (1, 4, 4),
    hidden: tuple[int, ...] = (8,),
    likelihood: nn.Module | None = None,
    terms: dict[str, Any] | None = None,
    seed: int = 0,
) -> Autoencoder:
    """A VAE with random weights, biases included, that depend on the seed alone."""
    posterior = DiagonalGaussian(latent_dim)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, decoder = mlp(image_shape, latent_dim, 2 * latent_dim, image_shape[0], hidden)
        for module in [*encoder, *decoder]:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.bias, std=0.1)
    objective = Objective(elbo_terms() if terms is None else terms)
    return Autoencoder(encoder, decoder, posterior, StandardNormal(), likelihood or Bernoulli(), objective)


def ae(latent_dim: int = 3, image_shape: tuple[int, int, int] = (1, 4, 4)) -> Autoencoder:
    """A plain autoencoder."""
    encoder, decoder = mlp(image_shape, latent_dim, latent_dim, image_shape[0], (8,))
    return Autoencoder(
        encoder,
        decoder,
        Deterministic(latent_dim),
        StandardNormal(),
        Bernoulli(),
        Objective({"distortion": Distortion()}),
    )


class Planted(nn.Module):
    """An encoder whose answer is known: mu = gain * pixel, log sigma^2 = ``log_var``, pixel by pixel."""

    def __init__(self, gain: Tensor, log_var: Tensor) -> None:
        super().__init__()
        self.register_buffer("gain", gain)
        self.register_buffer("log_var", log_var)

    def forward(self, x: Tensor) -> Tensor:
        loc = x.flatten(1) * self.gain
        return torch.cat([loc, self.log_var.expand_as(loc)], dim=1)


def images(n: int, shape: tuple[int, int, int] = (1, 4, 4), seed: int = 0) -> Tensor:
    """Uniform float images."""
    return torch.rand((n, *shape), generator=random(seed))


def latent_stats(n: int, latent_dim: int = 4, samples: int = 1, seed: int = 0) -> LatentStats:
    """Statistics as a forward pass gives them, with made-up numbers of a plausible size."""
    source = random(seed)
    kl = torch.rand(n, latent_dim, generator=source) * 2
    z = torch.randn(samples, n, latent_dim, generator=source)
    return LatentStats(
        distortion=40 + 10 * torch.randn(samples, n, generator=source),
        rate=kl.sum(-1),
        kl=kl,
        loc=torch.randn(n, latent_dim, generator=source) * torch.tensor([1.0, 0.5, 0.15, 0.05])[:latent_dim],
        scale=torch.rand(n, latent_dim, generator=source) + 0.1,
        z=z,
        log_q=torch.randn(samples, n, generator=source),
        log_p=torch.randn(samples, n, generator=source),
        z_prior=torch.randn(n, latent_dim, generator=source),
    )


def all_metrics(latent_dim: int = 4) -> MetricCollection:
    return MetricCollection(
        {
            "rate_distortion": RateDistortion(),
            "kl_per_dim": KLPerDimension(latent_dim),
            "active_units": ActiveUnits(latent_dim),
            "mse": ReconstructionError(),
        },
        compute_groups=False,
    )


def measured(
    metrics: MetricCollection,
    stats: LatentStats,
    x: Tensor,
    reconstruction: Tensor,
    sizes: Iterable[int],
    first: int = 0,
) -> dict[str, Tensor]:
    """What the metrics say when the images, from position ``first``, arrive in batches of the given sizes."""
    start = 0
    for size in sizes:
        part = slice(start, start + size)
        batch = {  # what has a dimension for samples has the images second
            name: value[:, part] if name in ("distortion", "z", "log_q", "log_p") else value[part]
            for name, value in stats.for_metrics().items()
        }
        position = torch.arange(first + start, first + start + size)
        metrics.update(**batch, x=x[part], reconstruction=reconstruction[:, part], position=position)
        start += size
    assert start == len(x)
    return metrics.compute()


def data_module(
    train: int = 20, val: int = 13, test: int = 13, batch_size: int = 4, **options: Any
) -> DataModule:
    """Uniform grey images, 4x4."""
    x = images(train + val + test, seed=5)
    source = Source(ImageSet(x[: train + val]), ImageSet(x[train + val :]))
    loading: dict[str, Any] = {"batch_size": batch_size, "seed": 0}
    loading |= {key: options.pop(key) for key in ("seed", "eval_batch_size") if key in options}
    return DataModule(split(source, **{"val_size": val, "train_size": None, **options}), **loading)


def lit(
    model: Autoencoder | None = None, lr: float = 1e-2, seed: int | None = 0, **extra: Any
) -> LitAutoencoder:
    model = model or vae()
    return LitAutoencoder(
        model,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=lr),
        metrics=all_metrics(model.latent_dim),
        seed=seed,
        **extra,
    )


def trainer(folder: Path, **options: Any) -> pl.Trainer:
    """A trainer on the CPU that writes nothing and says nothing."""
    defaults = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "log_every_n_steps": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": str(folder),
    }
    own = own_precision(options.get("precision"))
    return pl.Trainer(**{**defaults, **options, **({"precision": None, "plugins": [own]} if own else {})})


class Recorder(Logger):
    """A logger that keeps what it gets."""

    name = "recorder"
    version = "0"

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logged.append((step, dict(metrics)))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass

    def values(self, name: str) -> list[float]:
        return [metrics[name] for _, metrics in self.logged if name in metrics]

    @property
    def names(self) -> set[str]:
        return {name for _, metrics in self.logged for name in metrics}
