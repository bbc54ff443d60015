"""Build a run's parts from its config: each node names a class as ``_target_`` and gives its arguments."""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from math import prod
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torchmetrics import MetricCollection

from vaelab.data import DataModule, Source, Splits, split
from vaelab.data.augment import Augmentation
from vaelab.data.images import Selection
from vaelab.data.kept import kept
from vaelab.data.labels import class_labels
from vaelab.errors import UserError, did_you_mean, nearest, needs_memory, one_line, shown
from vaelab.functional.images import chunks, to_float
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.conditions import Unconditional
from vaelab.models.networks import Networks, latent_shape_of
from vaelab.models.objectives import Objective
from vaelab.models.requirements import DESCRIPTIONS, Misfit, Property
from vaelab.training.arguments import declared_types, mismatch
from vaelab.training.constant_image import share_of_distortion
from vaelab.types import RunContext

__all__ = [
    "REMEDIES",
    "build",
    "build_autoencoder",
    "build_data",
    "build_metrics",
    "find_target",
    "map_shape",
    "memory_of_data",
    "run_context",
]

OF_BATCHES = (
    "batch_size",
    "augment",
)  # keys of the node data that do not bear on the images as they are kept


def build(
    key: str,
    node: Mapping[str, Any] | DictConfig,
    context: RunContext | None = None,
    offered: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Any:
    """The object that the config node ``node`` at ``key`` describes.

    The object named by ``_target_`` is called with the node's other keys, nodes among them built first, and

    - with ``arguments``, all of them;
    - with those fields of ``context`` and items of ``offered`` that its signature names and the node does not
      set. This holds alike for every kind of part.

    Raises:
        UserError: names the key that is wrong: a target that does not exist, an argument that the target does
            not have, or a value that it refuses by a ValueError.
    """
    settings = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if not isinstance(settings, Mapping):
        raise UserError(f"{key}={shown(settings)}: must be a node with a _target_.")
    return _build(key, settings, {**(context._asdict() if context else {}), **(offered or {})}, arguments)


def _build(
    key: str, settings: Mapping[Any, Any], offered: Mapping[str, Any], arguments: Mapping[str, Any]
) -> Any:
    target, values = _prepare(key, settings, offered)
    try:
        return target(**{**values, **arguments})
    except UserError:
        raise
    except Exception as error:
        foreseen = (TypeError, ValueError, RuntimeError, ImportError, MisconfigurationException)
        if _is_ours(target) and not isinstance(error, foreseen):
            raise  # a fault of vaelab, which needs its traceback
        if needs_memory(error):
            raise UserError(f"{key}: {needs_memory(error)}") from error
        reason = one_line(error)
        # a message that begins with the name of an argument shall begin with its key
        joint = "." if reason.split(maxsplit=1)[0] in _parameters(target)[0] else ": "
        raise UserError(f"{key}{joint}{reason}") from error


def _prepare(
    key: str, settings: Mapping[Any, Any], offered: Mapping[str, Any]
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The object named by ``_target_``, and its arguments from the node and from ``offered``."""
    target = find_target(key, str(settings.get("_target_")))
    names, takes_any = _parameters(target)
    given = {str(name): value for name, value in settings.items() if name not in ("_target_", "_partial_")}
    for name in given:
        if name not in names and not takes_any:
            raise UserError(f"There is no key '{key}.{name}'. {did_you_mean(name, names)}")
    built = {name: _build_value(f"{key}.{name}", value, offered) for name, value in given.items()}
    for name, declared in declared_types(target).items():
        needed = mismatch(built[name], declared) if name in built else None
        if needed is not None:
            raise UserError(f"{key}.{name}={shown(given[name])}: must be {needed}.")
    return target, {name: offered[name] for name in names if name in offered} | built


def _build_value(key: str, value: Any, offered: Mapping[str, Any]) -> Any:
    """A value of a node: nodes with a ``_target_`` are built wherever they stand in it."""
    if isinstance(value, Mapping) and "_target_" in value:
        if value.get("_partial_"):
            target, values = _prepare(key, value, offered)
            return partial(target, **values)
        return _build(key, value, offered, {})
    if isinstance(value, Mapping):
        return {name: _build_value(f"{key}.{name}", part, offered) for name, part in value.items()}
    if isinstance(value, list):
        return [_build_value(f"{key}[{place}]", part, offered) for place, part in enumerate(value)]
    return value


def find_target(key: str, target: str) -> Callable[..., Any]:
    """The class or function with the dotted name ``target``.

    Raises:
        UserError: there is none, or its module can't be imported.
    """
    parts = target.split(".")
    place = f"{key}._target_={target}"
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        try:
            found: Any = import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{module}.".startswith(f"{error.name}."):
                continue  # no such module; the name may be an attribute of its parent
            raise UserError(f"{place}: {module} can't be imported: {one_line(error)}.") from error
        except Exception as error:  # whatever the module's own code raises
            raise UserError(f"{place}: {module} can't be imported: {one_line(error)}.") from error
        for number, part in enumerate(parts[length:], length):
            if not hasattr(found, part):
                raise UserError(f"{place}: {_why_not_found(target, '.'.join(parts[:number]), part, found)}")
            found = getattr(found, part)
        if callable(found):
            return found
        raise UserError(f"{place}: it is of type {type(found).__name__}, not a class or a function.")
    if len(parts) < 2 or not all(parts):
        raise UserError(f"{place}: it must be a dotted name, such as mypackage.MyTerm.")
    raise UserError(
        f"{place}: there is no package {parts[0]!r}, neither installed, nor in the current folder, nor "
        "beside the folder of --config-dir."
    )


def _why_not_found(target: str, parent: str, name: str, found: Any) -> str:
    """Why ``found``, whose dotted name is ``parent``, lacks the next name of ``target``."""
    if not target.startswith("vaelab."):
        kind = "module or name" if hasattr(found, "__path__") else "name"
        file = getattr(found, "__file__", None)
        public = [other for other in dir(found) if not other.startswith("_")]
        guess = nearest(name, public)
        hint = f" Did you mean {guess!r}?" if guess else ""
        return f"{parent}{f' ({file})' if file else ''} has no {kind} {name!r}.{hint}"
    name = target.rpartition(".")[2]
    faces = {
        public: f"vaelab.{room}.{public}"
        for room in ("data", "metrics", "models", "training")
        for public in import_module(f"vaelab.{room}").__all__
    }
    guess = nearest(name, faces)
    hint = f" Did you mean {faces[guess]!r}?" if guess else ""
    return (
        f"this version of vaelab has no such name.{hint} If an older version recorded the run, "
        "train the run again or use that version."
    )


def _is_ours(target: Any) -> bool:
    return f"{getattr(target, '__module__', None)}.".startswith("vaelab.")


def _parameters(target: Callable[..., Any]) -> tuple[list[str], bool]:
    """The names of the arguments that ``target`` takes, and whether it takes others by ``**``."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:  # written in C, without a signature
        return [], True
    named = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    return named, len(named) < len(parameters)


@contextmanager
def memory_of_data(cfg: DictConfig) -> Iterator[None]:
    """Turn an allocation that fails in this block, which reads images, into a UserError about the data."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not (text := needs_memory(error)):
            raise
        size = cfg.data.get("size")
        key = "data" if size is None else f"data.size={size}"
        raise UserError(f"{key}: {text}") from error


def build_data(cfg: DictConfig) -> DataModule:
    """The data module of ``cfg.data``: the source is read, checked and split, unless the last job did so."""
    data = cfg.data

    def cut(source: Source) -> Splits:
        return split(
            source,
            val_size=data.val_size,
            train_size=data.train_size,
            test_size=data.get("test_size"),
            binarize=data.binarize,
            scale=data.get("scale", "none"),
        )

    plain: Any = OmegaConf.to_container(data, resolve=True)
    bearing = {key: value for key, value in plain.items() if key not in OF_BATCHES}
    try:
        key = os.getcwd(), repr(bearing)  # from which relative paths start
        splits = kept(key, read=lambda: build("data.source", data.source), cut=cut)
        return DataModule(splits, batch_size=data.batch_size, seed=cfg.seed, augmentation=_augmentation(data))
    except ValueError as error:  # its message begins with the key
        raise UserError(f"data.{error}.") from error


def _augmentation(data: DictConfig) -> Augmentation:
    """The random changes of training images that ``data.augment`` asks for."""
    asked = dict(data.get("augment") or {})
    for name in asked:
        if name not in Augmentation._fields:
            raise UserError(f"data.augment.{name}: {did_you_mean(name, Augmentation._fields)}")
    return Augmentation(**asked)


def run_context(cfg: DictConfig, data: DataModule) -> RunContext:
    """The facts about this run's data that parts may ask for."""
    labels = class_labels(data.splits)
    latent_shape = map_shape(cfg, data.image_shape)
    context = RunContext(
        image_shape=tuple(data.image_shape),
        latent_dim=prod(latent_shape) if latent_shape else cfg.model.latent_dim,
        latent_shape=latent_shape,
        dataset_size=len(data.train),
        num_classes=labels.classes,
        no_classes=labels.problem,
        value_range=data.value_range,
        levels=data.levels,
        scaling=None if data.scaling is None else data.scaling.plain(),
        mean_image=_mean_image(data),
    )
    share = cfg.model.get("target_share")
    if share is None or cfg.model.get("target_distortion") is not None:
        return context
    likelihood, condition = build("likelihood", cfg.likelihood, context), _condition(cfg, context)
    try:
        target = share_of_distortion(share, likelihood, condition, data)
    except ValueError as error:
        raise UserError(f"model.target_share={share:g}: it {error}.") from error
    return context._replace(target_distortion=target)


def map_shape(cfg: DictConfig, image_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape (C, h, w) of the network's latent map; empty where its latents are vectors.

    Raises:
        UserError: names the key of the network that does not fit the images.
    """
    factory = find_target("network", str(cfg.network.get("_target_")))
    shape = latent_shape_of(factory)
    if shape is None:
        return ()
    read = {name: cfg.network[name] for name in inspect.signature(shape).parameters if name in cfg.network}
    try:
        return shape(image_shape=tuple(image_shape), **read)
    except ValueError as error:
        raise UserError(f"network.{error}.") from error


def _condition(cfg: DictConfig, context: RunContext) -> Unconditional:
    """What encoder and decoder are told beside the image."""
    node = cfg.model.get("condition")
    return Unconditional() if node is None else build("model.condition", node, context)


def _mean_image(data: DataModule, images: int = 1000) -> Tensor:
    """The mean of the first training images, which are in random order: (C, H, W)."""
    first = Selection(data.train.x, torch.arange(min(images, len(data.train))))
    return torch.stack([to_float(part).sum(0) for part in chunks(first)]).sum(0) / len(first)


def build_autoencoder(cfg: DictConfig, context: RunContext) -> Autoencoder:
    """The model of ``cfg.model`` with its network, prior and likelihood."""
    model = cfg.model

    def part(key: str, node: DictConfig | None, **offered: Any) -> Any:
        return None if node is None else build(key, node, context, offered)

    posterior = part("model.posterior", model.posterior)
    likelihood = part("likelihood", cfg.likelihood)
    condition = _condition(cfg, context)
    channels, *size = context.image_shape
    encoder, decoder = build(
        "network",
        cfg.network,
        context._replace(
            image_shape=(channels + condition.channels, *size),
            latent_dim=context.latent_dim + condition.features,
        ),
        encoder_outputs=posterior.parameter_count,
        decoder_channels=channels * likelihood.parameters_per_channel,
    )
    shape = (channels + condition.channels, *size)
    encoder, decoder = condition.networks(
        Networks(encoder, decoder), shape, context.latent_dim + condition.features
    )
    try:
        likelihood.check(*context.value_range, levels=context.levels)
    except ValueError as error:
        low, high = context.value_range
        scale = ", or data.scale=minmax" if context.scaling is None and (low < 0 or high > 1) else ""
        raise UserError(
            f"likelihood: {error}. Use likelihood=learned_gaussian, which fits any data{scale}."
        ) from error
    terms = {
        name: part(f"model.objective.{name}", node, decoder=decoder) for name, node in model.objective.items()
    }
    codes = {name: getattr(posterior, name) for name in ("places", "number_of_codes", "code_shape")}
    prior = part("prior", cfg.prior, **codes)
    corruption = part("model.corruption", model.get("corruption"))
    try:
        objective = Objective(terms)
    except ValueError as error:
        raise UserError(f"model.objective: {error}.") from error
    samples = model.get("samples", 1)
    try:
        return Autoencoder(
            encoder, decoder, posterior, prior, likelihood, objective, condition, corruption, samples
        )
    except Misfit as misfit:
        key = misfit.part if misfit.part == "prior" else f"model.{misfit.part}"
        remove = f" Or leave it out: {key}=null." if misfit.part.startswith("objective.") else ""
        raise UserError(
            f"{key} needs {DESCRIPTIONS[misfit.need]}. {REMEDIES[misfit.need]}{remove}"
        ) from misfit


# the setting that provides each property
REMEDIES: dict[Property, str] = {
    "density": "Use model.posterior._target_=vaelab.models.DiagonalGaussian, or model=vae.",
    "independent dimensions": "Use model.posterior._target_=vaelab.models.DiagonalGaussian.",
    "vectors": "prior=uniform_codes and prior=fitted_codes go with codes, no other prior does.",
    "codes": "Use model=vq_vae, fsq_vae or residual_vq_vae.",
    "trainable codes": "Set model.posterior.decay=null.",
    "codebook loss": "Use model=vq_vae, or model=vq_vae_ema, whose codes are moving averages.",
    "kl per dimension": "Use prior=standard_normal.",
    "encoder without labels": "Use prior=mog.",
}


def build_metrics(
    cfg: DictConfig, context: RunContext, number_of_codes: int = 0, codebooks: int = 1
) -> MetricCollection:
    """The metrics of ``cfg.metrics`` under their names; the codes are those of the posterior."""
    chosen = {name: node for name, node in cfg.metrics.items() if node is not None}
    codes = {"number_of_codes": number_of_codes, "codebooks": codebooks}
    metrics = {name: build(f"metrics.{name}", node, context, codes) for name, node in chosen.items()}
    return MetricCollection(metrics, compute_groups=False)
