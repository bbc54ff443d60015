"""From config to objects: each part is named by a ``_target_`` and gets what only the run knows."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torchmetrics import MetricCollection

from vaelab.cli.hints import explain
from vaelab.data.datamodule import DataModule
from vaelab.errors import UserError, did_you_mean
from vaelab.functional.images import to_float
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.conditions import Unconditional, class_count
from vaelab.models.objectives import Objective


def build(key: str, node: DictConfig, known: Mapping[str, Any] | None = None, /, **runtime: Any) -> Any:
    """The object that ``node`` describes, with ``runtime`` as further arguments.

    Of what is ``known`` of the run it gets what its signature names and ``node`` does not set.

    A node's mistake (an argument that does not exist, a value that its class refuses) is a UserError that
    names ``key``.
    """
    factory: Callable[..., Any] | None = None
    try:
        factory = instantiate(node, _convert_="all", _partial_=True)
        assert factory is not None
        known = known or {}
        asked = known.keys() & set(_settings(factory)) - {*node} if known else set()
        return factory(**{name: known[name] for name in asked}, **runtime)
    except UserError:
        raise
    except (TypeError, ValueError, ImportError, MisconfigurationException) as error:
        unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unexpected:
            hint = did_you_mean(unexpected.group(1), _settings(factory))
            raise UserError(f"There is no key '{key}.{unexpected.group(1)}'. {hint}") from error
        raise UserError(f"{key}: {explain(error)}") from error
    except Exception as error:  # Hydra's own wrapping of errors in nested nodes
        raise UserError(explain(error)) from error


def _settings(factory: Callable[..., Any] | None) -> list[str]:
    """What the part of a node can be told: the named arguments of its class or function."""
    if factory is None:
        return []
    target = factory.func if isinstance(factory, partial) else factory
    return [name for name in signature(target).parameters if name != "self"]


def build_data(cfg: DictConfig) -> DataModule:
    """The data module of ``cfg.data``: the source is read, checked and split."""
    data = cfg.data
    return DataModule(
        build("data.source", data.source),
        batch_size=data.batch_size,
        val_size=data.val_size,
        train_size=data.train_size,
        test_size=data.get("test_size"),
        binarize=data.binarize,
        seed=cfg.seed,
    )


def build_autoencoder(
    cfg: DictConfig, image_shape: Sequence[int], known: Mapping[str, Any] | None = None
) -> Autoencoder:
    """The model of ``cfg.model`` with its network, prior and likelihood, for images of ``image_shape``.

    ``known``: what a part may ask for by name beside ``image_shape``, ``latent_dim`` and, for a term, the
    ``decoder``, which only the run knows: see :func:`what_is_known`.
    """
    known = {"image_shape": tuple(image_shape), "latent_dim": cfg.model.latent_dim, **(known or {})}
    posterior = build("model.posterior", cfg.model.posterior)
    likelihood = build("likelihood", cfg.likelihood)
    own = cfg.model.get("condition")
    condition = Unconditional() if own is None else build("model.condition", own, known)
    encoder, decoder = build(
        "network",
        cfg.network,
        image_shape=(image_shape[0] + condition.channels, *image_shape[1:]),
        latent_dim=cfg.model.latent_dim + condition.features,
        encoder_outputs=posterior.parameter_count,
        decoder_channels=image_shape[0] * likelihood.parameters_per_channel,
    )
    known["decoder"] = decoder
    terms = {
        name: None if node is None else build(f"model.objective.{name}", node, known)
        for name, node in cfg.model.objective.items()
    }
    prior = build("prior", cfg.prior, known)
    samples = cfg.model.get("samples", 1)
    own = cfg.model.get("corruption")
    corruption = None if own is None else build("model.corruption", own)
    return Autoencoder(
        encoder, decoder, posterior, prior, likelihood, Objective(terms), condition, corruption, samples
    )


def what_is_known(data: DataModule) -> dict[str, Any]:
    """What only the run knows and a part may ask for by name: plain numbers, kept in checkpoints.

    ``dataset_size``: training images. ``num_classes``: of the labels, None without labels.
    """
    labels = [part.y for part in (data.train, data.val, data.test) if part is not None]
    return {"dataset_size": len(data.train), "num_classes": class_count(*labels)}


def mean_image(data: DataModule, images: int = 1000) -> Tensor:
    """The mean of the first training images, (C, H, W)."""
    return to_float(data.train.x[torch.arange(min(images, len(data.train)))]).mean(0)


def build_metrics(cfg: DictConfig) -> MetricCollection:
    """The metrics of ``cfg.metrics`` under their names."""
    metrics = {name: build(f"metrics.{name}", node) for name, node in cfg.metrics.items() if node is not None}
    return MetricCollection(metrics, compute_groups=False)
