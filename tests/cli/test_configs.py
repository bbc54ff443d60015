"""Every file below conf/ composes, resolves and makes what it says."""

import inspect
import math
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from vaelab.cli.checks import CONTRACT, check_values
from vaelab.cli.paths import conf_dir
from vaelab.models.schedules import set_total_steps
from vaelab.runs.request import RunRequest
from vaelab.training.assembly import build, build_autoencoder, build_data, build_metrics, map_shape
from vaelab.training.setup import build_callbacks, build_optimizer
from vaelab.types import RunContext

CONF = Path(__file__).resolve().parents[2] / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
# `wandb sweep` reads conf/wandb; conf/hydra holds options of Hydra's own groups
NOT_OURS = ("wandb", "hydra")
OPTIONS = [
    file.relative_to(CONF).with_suffix("")
    for file in FILES
    if len(file.relative_to(CONF).parts) > 1
    and file.relative_to(CONF).parts[0] not in NOT_OURS
    and not file.name.startswith("_")  # the base of others
]
# options that read keys of a variant
OF_VARIANTS = {
    "prior=fitted_codes": "vq_vae",
    "metrics=codebook": "vq_vae",
    "metrics=groups": "hierarchical_vae",
}


def options(group: str) -> list[str]:
    return [o.name for o in OPTIONS if o.parts[:-1] == (group,)]


@pytest.fixture(scope="module", autouse=True)
def hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def composed(*settings: str, root: str = "train") -> DictConfig:
    """The config of a command line, with every interpolation resolved."""
    of = [OF_VARIANTS[setting] for setting in settings if setting in OF_VARIANTS]
    if of and not any(setting.startswith("model=") for setting in settings):
        settings = (f"model={of[0]}", *settings)
    cfg = compose(root, list(settings))
    OmegaConf.resolve(cfg)
    return cfg


def with_option(option: Path) -> DictConfig:
    """The config with this option chosen; conf/eval belongs to vaelab-evaluate."""
    group, choice = option.parts[0], "/".join(option.parts[1:])
    if option.parts[:2] in {("model", "corruption"), ("model", "objective")}:
        return composed(f"+model/{option.parts[1]}={option.name}")
    if group == "eval":
        return composed(f"eval={choice}", root="evaluate")
    return composed(f"{'+schedule@model.beta' if group == 'schedule' else group}={choice}")


def nodes(node: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Every key of a config, dotted, with its value."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield f"{key}{name}", value
            yield from nodes(value, f"{key}{name}.")
    elif isinstance(node, list):
        for value in node:
            yield key, value
            yield from nodes(value, key)


def test_these_are_the_configs_that_are_used():
    assert conf_dir() == CONF


def test_every_option_composes_resolves_and_keeps_the_contract():
    keys = set()
    for option in OPTIONS:
        cfg = with_option(option)
        # the user gives the path of an .npz file
        assert OmegaConf.missing_keys(cfg) <= {"data.path"}, option
        config = OmegaConf.to_container(cfg)
        check_values(config)
        found = dict(nodes(config))
        for key, value in found.items():
            if key.endswith("_target_"):
                assert callable(get_method(value)), (option, value)
        keys |= found.keys()
    assert set(CONTRACT) <= keys  # no rule for a key that no option has


def test_yaml_names_faces_of_rooms_not_files_inside_them():
    for file in FILES:
        for target in re.findall(r"_target_: [\"']?([\w.]+)", file.read_text()):
            if target.startswith("vaelab."):
                room, _, name = target.removeprefix("vaelab.").partition(".")
                assert name in import_module(f"vaelab.{room}").__all__, (file, target)


# the parts

# a network knows nothing of the variant but how many numbers it takes and gives: the variants that differ in
# that are tried with each network and each likelihood
PLAIN = ("ae", "vae", "conditional_vae")
AS_PUBLISHED = [(1, 64, 64), (3, 64, 64)]
SHAPES = {"burgess_conv": AS_PUBLISHED, "locatello_conv": AS_PUBLISHED}


@pytest.mark.parametrize("model", options("model"))
def test_every_part_goes_with_the_others(model):
    parts = [("mlp", "predicted_gaussian")]
    if model in PLAIN:
        parts += [(network, "bernoulli") for network in options("network")]
        parts += [("mlp", likelihood) for likelihood in options("likelihood")]
    for network, likelihood in parts:
        cfg = composed(f"model={model}", f"network={network}", f"likelihood={likelihood}")
        for shape in SHAPES.get(network, [(1, 8, 8), (3, 13, 9)]):
            latents = map_shape(cfg, shape)
            dimensions = math.prod(latents) if latents else cfg.model.latent_dim
            facts = {"num_classes": 4, "levels": 256, "latent_shape": latents, "target_distortion": 9.0}
            autoencoder = build_autoencoder(cfg, RunContext(shape, dimensions, 100, **facts))
            set_total_steps(autoencoder, 10)
            x, y = torch.randint(256, (4, *shape)) / 255, torch.arange(4)
            output = autoencoder(x, autoencoder.draw_noise(4, torch.Generator()), y=y)
            output.loss.backward()
            assert output.loss.isfinite(), (network, likelihood)
            assert autoencoder.reconstruct(x, y).shape == x.shape
            used = [name for name, node in cfg.model.objective.items() if node is not None]
            assert list(output.terms) == used


def test_every_optimizer_steps():
    for optimizer in options("optimizer"):
        parameter = torch.nn.Parameter(torch.ones(3))
        made = build_optimizer(composed(f"optimizer={optimizer}", "optimizer.lr=0.5"))([parameter])
        parameter.sum().backward()
        made.step()
        assert made.param_groups[0]["lr"] == 0.5
        assert (parameter < 0.6).all(), optimizer


def test_every_set_of_metrics_and_of_evaluations_is_made():
    for metrics in options("metrics"):
        cfg = composed(f"metrics={metrics}")
        assert set(build_metrics(cfg, RunContext((1, 8, 8), 3, 100)).keys()) == set(cfg.metrics)
    for option in OPTIONS:
        if option.parts[0] == "eval":
            for key, node in with_option(option).eval.items():
                assert callable(build(f"eval.{key}", node)), key


@pytest.mark.parametrize("weights", ["best", "last"])
def test_every_set_of_callbacks_is_made(tmp_path, weights):
    for callbacks in options("callbacks"):
        cfg = composed(f"callbacks={callbacks}", "model=vae", f"model.weights={weights}")
        made = build_callbacks(cfg, RunRequest(tmp_path, "vae", "digits", "run"), validated=True)
        monitors = [(made.monitor, made.mode) for made in made if getattr(made, "monitor", None)]
        compared = {"best"} if callbacks != "none" and weights == "best" else set()
        compared |= {"early_stopping"} & set(cfg.callbacks)
        assert monitors == [("val/objective", "min")] * len(compared)
        others = {name for name, node in cfg.callbacks.items() if node is not None}
        others -= {"best", "early_stopping"}
        assert len(made) == len(others) + len(monitors) + 1  # a progress display


def test_every_trainer_is_made(tmp_path):
    for trainer in options("trainer"):
        cfg = composed(f"trainer={trainer}")
        cfg.trainer.accelerator = "cpu"  # trainer=gpu asks for what this machine may lack
        made = build("trainer", cfg.trainer, logger=False, callbacks=[], default_root_dir=str(tmp_path))
        assert isinstance(made, pl.Trainer)
        assert made.max_epochs == cfg.trainer.max_epochs


@pytest.mark.parametrize("data", ["digits", "sprites", "npz", "folder"])
def test_every_data_set_that_needs_no_download_is_read(tmp_path, data):
    np.savez(tmp_path / "x.npz", x=np.zeros((40, 8, 8), dtype=np.uint8))
    for number in range(40):
        Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
    settings = {
        "npz": [f"data.path={tmp_path / 'x.npz'}", "data.val_size=5"],
        "sprites": ["data.size=8", "data.val_size=5"],
        "digits": ["data.val_size=5"],
        "folder": [f"data.path={tmp_path}", f"data.root={tmp_path}", "data.channels=1", "data.val_share=0.2"],
    }[data]
    made = build_data(composed(f"data={data}", *settings, "data.train_size=10"))
    assert len(made.train) == 10
    assert len(made.val) == 5 or data == "folder"
    assert made.image_shape == (1, 8, 8)


def test_every_sweep_is_a_grid_of_existing_keys():
    for option in OPTIONS:
        if option.parts[0] in ("sweep", "experiment"):
            choice = "/".join(option.parts[1:])
            cfg = compose("train", [f"{option.parts[0]}={choice}"], return_hydra_config=True)
            assert cfg.hydra.mode.name == "MULTIRUN", option
            assert cfg.hydra.sweeper.params
            for key in cfg.hydra.sweeper.params:
                assert OmegaConf.select(cfg, key) is not None, (option, key)


def test_the_family_is_every_variant():
    cfg = compose("train", ["sweep=family"], return_hydra_config=True)
    # a multi-rate model is a row for each beta, the same as beta_vae's
    each = set(options("model")) - {"multi_rate_vae"}
    assert sorted(cfg.hydra.sweeper.params.model.split(",")) == sorted(each)


# how they are written


def test_the_trainer_lists_every_argument_of_lightnings():
    listed = OmegaConf.load(CONF / "trainer" / "default.yaml")
    ours = {"enable_checkpointing", "callbacks", "logger", "default_root_dir"}  # made by the run itself
    assert set(listed) - {"_target_"} == set(inspect.signature(pl.Trainer).parameters) - ours


def test_a_variant_is_at_most_ten_lines():
    for file in CONF.glob("model/*.yaml"):
        assert len(file.read_text().splitlines()) <= 10, file


def test_beta_vae_at_one_is_vae():
    assert composed("model=vae").model == composed("model=beta_vae", "model.beta=1").model


def test_every_file_says_what_it_is_and_names_no_place_on_someones_disk():
    for file in FILES:
        lines = [line for line in file.read_text().splitlines() if not line.startswith("# @package")]
        assert re.match(r"# \S+.{15,}", lines[0]), file
        for _, value in nodes(OmegaConf.to_container(OmegaConf.load(file))):
            assert not re.match(r"[/~\\]|[A-Za-z]:\\", str(value)), (file, value)
