"""Every file below conf/ composes, resolves and makes what it says."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from vaelab.cli.paths import conf_dir
from vaelab.models.schedules import set_total_steps
from vaelab.training.assembly import build, build_autoencoder, build_data, build_metrics
from vaelab.training.fit import build_callbacks, build_optimizer
from vaelab.types import RunContext

CONF = Path(__file__).resolve().parents[2] / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
# conf/wandb is read by `wandb sweep`, not by Hydra: tests/dashboard looks at it
OURS = [file.relative_to(CONF) for file in FILES if file.relative_to(CONF).parts[0] != "wandb"]
OPTIONS = [file.with_suffix("") for file in OURS if len(file.parts) == 2 and file.name[0] != "_"]
CONTRACT = {
    "model": {
        *("ae", "denoising_ae", "vae", "beta_vae", "sigma_vae"),
        *("vamp_vae", "mog_vae", "flow_prior_vae", "conditional_vae", "vq_vae", "vq_vae_ema"),
        *("annealed_vae", "cyclical_vae", "free_bits_vae", "capacity_vae", "target_rate_vae", "geco_vae"),
        *("beta_tc_vae", "factor_vae", "dip_vae_i", "dip_vae_ii"),
        *("info_vae", "wae_mmd", "iwae", "regularized_ae"),
    },
    "network": {"linear", "mlp", "conv", "burgess_conv", "locatello_conv", "resnet"},
    "likelihood": {
        *("bernoulli", "continuous_bernoulli", "gaussian", "learned_gaussian", "predicted_gaussian"),
        *("laplace", "discretized_logistic"),
    },
    "prior": {"standard_normal", "vamp", "mog", "flow", "uniform_codes", "fitted_codes"},
    "schedule": {"constant", "linear", "cosine", "sigmoid", "exponential", "cyclic", "piecewise"},
    "data": {"digits", "sprites", "dsprites", "shapes3d", "mnist", "fashion_mnist", "npz"},
    "optimizer": {"adam", "adamw"},
    "trainer": {"default", "gpu", "smoke"},
    "metrics": {"default", "codebook", "disentanglement", "importance"},
    "callbacks": {"default", "none"},
    "logger": {"wandb", "csv", "none"},
    "sweep": {"beta", "family"},
    "experiment": {"demo", "ppca"},
    "eval": {"default", "full"},
}
KEYS = {
    "model.beta": "model=vae",
    "model.capacity": "model=capacity_vae",
    "model.lr_factor": "model=capacity_vae",
    "model.gamma": "model=capacity_vae",
    "model.target_rate": "model=target_rate_vae",
    "model.target_distortion": "model=geco_vae",
    "model.free_bits": "model=free_bits_vae",
    "model.latent_dim": "model=ae",
    "network.hidden": "network=mlp",
    "network.blocks": "network=resnet",
    "network.dense": "network=conv",
    "network.late_kernel": "network=locatello_conv",
    "model.corruption.sigma": "model=denoising_ae",
    "model.corruption.share": "+model/corruption=masking",
    "model.estimator": "model=beta_tc_vae",
    "model.discriminator.width": "model=factor_vae",
    "model.discriminator.depth": "model=factor_vae",
    "model.discriminator.lr": "model=factor_vae",
    "model.lambda_od": "model=dip_vae_i",
    "model.lambda_d": "model=dip_vae_ii",
    "model.lambda": "model=wae_mmd",
    "model.samples": "model=iwae",
    "model.gradient": "model=iwae",
    "model.latent_l2": "model=regularized_ae",
    "model.decoder_l2": "model=regularized_ae",
    "likelihood.sigma": "likelihood=gaussian",
    "likelihood.least": "likelihood=predicted_gaussian",
    "likelihood.scale": "likelihood=laplace",
    "likelihood.optimal": "model=sigma_vae",
    "likelihood.per_pixel": "likelihood=discretized_logistic",
    "prior.components": "model=vamp_vae",
    "prior.transforms": "prior=flow",
    "model.codes": "model=vq_vae",
    "model.code_dim": "model=vq_vae",
    "model.commitment": "model=vq_vae",
    "model.decay": "model=vq_vae_ema",
    "prior.decay": "prior=fitted_codes",
    "data.batch_size": "data=digits",
    "data.val_size": "data=sprites",
    "data.train_size": "data=mnist",
    "data.root": "data=fashion_mnist",
    "data.path": "data=npz",
    "data.test_size": "data=dsprites",
    "data.binarize": "data=digits",
    "optimizer.lr": "optimizer=adamw",
    "trainer.max_epochs": "trainer=smoke",
    "seed": "trainer=gpu",
    "name": "logger=none",
    "group": "logger=wandb",
    "paths.outputs": "logger=csv",
}
CODEBOOK = {"prior=fitted_codes", "metrics=codebook"}  # they read model.codes
AS_PUBLISHED = [(1, 64, 64), (3, 64, 64)]
SHAPES = {"burgess_conv": AS_PUBLISHED, "locatello_conv": AS_PUBLISHED}


@pytest.fixture(scope="module", autouse=True)
def hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def composed(*settings: str) -> DictConfig:
    """The config of a command line, with every interpolation resolved."""
    if CODEBOOK.intersection(settings) and not any(setting.startswith("model=") for setting in settings):
        settings = ("model=vq_vae", *settings)
    cfg = compose("train", list(settings))
    OmegaConf.resolve(cfg)
    return cfg


def name(path: Path) -> str:
    return path.relative_to(CONF).as_posix() if path.is_absolute() else path.as_posix()


def test_these_are_the_configs_that_are_used():
    assert conf_dir() == CONF


def test_the_groups_and_options_of_the_contract_exist():
    found: dict[str, set[str]] = {}
    for option in OPTIONS:
        found.setdefault(option.parts[0], set()).add(option.name)
    for group, options in CONTRACT.items():
        assert options <= found.pop(group), group
    assert found == {}  # and no group that is not in the contract


@pytest.mark.parametrize("key", KEYS)
def test_the_keys_of_the_contract_exist(key):
    group, _, last = key.rpartition(".")
    cfg = composed(KEYS[key])
    assert last in (OmegaConf.select(cfg, group) if group else cfg)


def in_its_root(option: Path) -> DictConfig:
    """The config with this option chosen; conf/eval belongs to vaelab-evaluate."""
    group, choice = option.parts[0], "/".join(option.parts[1:])
    if group == "eval":
        cfg = compose("evaluate", [f"eval={choice}"])
        OmegaConf.resolve(cfg)
        return cfg
    return composed(f"{'+schedule@model.beta' if group == 'schedule' else group}={choice}")


NESTED = [
    file.with_suffix("") for file in OURS if len(file.parts) == 3 and file.parts[0] in ("eval", "experiment")
]


@pytest.mark.parametrize("option", [*OPTIONS, *NESTED], ids=name)
def test_every_option_composes_and_resolves(option):
    cfg = in_its_root(option)
    assert not OmegaConf.missing_keys(cfg)
    for node in targets(cfg):
        assert callable(get_method(node)), node


def targets(node: object) -> Iterator[str]:
    if isinstance(node, DictConfig):
        for key, value in node.items():
            if key == "_target_":
                yield value
            else:
                yield from targets(value)


EVALUATIONS = [option for option in [*OPTIONS, *NESTED] if option.parts[0] == "eval"]


@pytest.mark.parametrize("option", EVALUATIONS, ids=name)
def test_every_evaluation_is_made(option):
    for key, node in in_its_root(option).eval.items():
        assert callable(build(f"eval.{key}", node)), key


# the parts


# a network knows nothing of the variant but how many numbers it takes and gives: each with the variants that
# differ in that, and each likelihood too; every variant with one of each
PLAIN = ("ae", "vae", "conditional_vae")
PARTS = [(model, "mlp", "predicted_gaussian") for model in sorted(CONTRACT["model"])]
PARTS += [(model, network, "bernoulli") for model in PLAIN for network in sorted(CONTRACT["network"])]
PARTS += [(model, "mlp", likelihood) for model in PLAIN for likelihood in sorted(CONTRACT["likelihood"])]


@pytest.mark.parametrize(("model", "network", "likelihood"), list(dict.fromkeys(PARTS)))
def test_every_part_goes_with_the_others(model, network, likelihood):
    cfg = composed(f"model={model}", f"network={network}", f"likelihood={likelihood}")
    for shape in SHAPES.get(network, [(1, 8, 8), (3, 13, 9)]):
        autoencoder = build_autoencoder(cfg, RunContext(shape, cfg.model.latent_dim, 100, num_classes=4))
        set_total_steps(autoencoder, 10)
        x, y = torch.rand(4, *shape), torch.arange(4)
        output = autoencoder(x, autoencoder.draw_noise(4, torch.Generator()), y=y)
        output.loss.backward()
        assert output.loss.isfinite()
        assert autoencoder.reconstruct(x, y).shape == x.shape
        used = [name for name, node in cfg.model.objective.items() if node is not None]
        assert list(output.terms) == used


@pytest.mark.parametrize("optimizer", sorted(CONTRACT["optimizer"]))
def test_every_optimizer_steps(optimizer):
    parameter = torch.nn.Parameter(torch.ones(3))
    made = build_optimizer(composed(f"optimizer={optimizer}", "optimizer.lr=0.5"))([parameter])
    parameter.sum().backward()
    made.step()
    assert made.param_groups[0]["lr"] == 0.5
    assert (parameter < 0.6).all()


@pytest.mark.parametrize("metrics", [option.name for option in OPTIONS if option.parts[0] == "metrics"])
def test_every_set_of_metrics_is_made(metrics):
    cfg = composed(f"metrics={metrics}")
    assert set(build_metrics(cfg, RunContext((1, 8, 8), 3, 100)).keys()) == set(cfg.metrics)


@pytest.mark.parametrize("callbacks", sorted(CONTRACT["callbacks"]))
@pytest.mark.parametrize("model", ["ae", "vae"])
def test_every_set_of_callbacks_is_made(tmp_path, callbacks, model):
    cfg = composed(f"callbacks={callbacks}", f"model={model}")
    made = build_callbacks(cfg, tmp_path, validated=True)
    assert len(made) == len(cfg.callbacks) + 1  # and a progress display
    monitors = [callback.monitor for callback in made if getattr(callback, "monitor", None)]
    assert monitors == [{"ae": "val/distortion", "vae": "val/elbo"}[model]] * (callbacks == "default")


@pytest.mark.parametrize("trainer", sorted(CONTRACT["trainer"]))
def test_every_trainer_is_made_or_lacks_its_device(tmp_path, trainer):
    cfg = composed(f"trainer={trainer}")
    if trainer == "gpu" and not torch.cuda.is_available():
        assert cfg.trainer.accelerator == "gpu"
        cfg.trainer.accelerator = "cpu"
    made = build("trainer", cfg.trainer, logger=False, callbacks=[], default_root_dir=str(tmp_path))
    assert isinstance(made, pl.Trainer)
    assert made.max_epochs == cfg.trainer.max_epochs


@pytest.mark.parametrize("logger", sorted(CONTRACT["logger"] - {"none"}))
def test_every_logger_takes_its_settings(logger):
    settings = OmegaConf.to_container(composed(f"logger={logger}").logger)
    signature = inspect.signature(get_method(settings.pop("_target_")))
    signature.bind(record={}, folder=Path(), **settings)


@pytest.mark.parametrize("data", ["digits", "sprites", "npz"])
def test_every_data_set_that_needs_no_download_is_read(tmp_path, data):
    np.savez(tmp_path / "x.npz", x=np.zeros((40, 8, 8), dtype=np.uint8))
    settings = {"npz": [f"data.path={tmp_path / 'x.npz'}"], "sprites": ["data.size=8"], "digits": []}[data]
    made = build_data(composed(f"data={data}", *settings, "data.train_size=10", "data.val_size=5"))
    assert (len(made.train), len(made.val)) == (10, 5)
    assert made.image_shape == (1, 8, 8)


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if option.parts[0] in ("sweep", "experiment")], ids=name
)
def test_every_sweep_is_a_grid_of_existing_keys(option):
    cfg = compose("train", ["=".join(option.parts)], return_hydra_config=True)
    assert cfg.hydra.mode.name == "MULTIRUN"
    assert cfg.hydra.sweeper.params
    for key, values in cfg.hydra.sweeper.params.items():
        assert OmegaConf.select(cfg, key) is not None, key
        assert len(str(values).split(",")) > 1
    autoencoder = build_autoencoder(cfg, RunContext((1, 8, 8), cfg.model.latent_dim, 100))
    assert autoencoder.latent_dim == cfg.model.latent_dim


def test_the_family_is_every_variant():
    cfg = compose("train", ["sweep=family"], return_hydra_config=True)
    assert sorted(cfg.hydra.sweeper.params.model.split(",")) == sorted(CONTRACT["model"])


# how they are written


def test_the_trainer_lists_every_argument_of_lightnings():
    listed = OmegaConf.load(CONF / "trainer" / "default.yaml")
    ours = {"callbacks", "logger", "default_root_dir"}  # made by the run itself
    assert set(listed) - {"_target_"} == set(inspect.signature(pl.Trainer).parameters) - ours


@pytest.mark.parametrize("file", sorted(CONF.glob("model/*.yaml")), ids=name)
def test_a_variant_is_at_most_ten_lines(file):
    assert len(file.read_text().splitlines()) <= 10


def test_beta_vae_is_vae_and_a_beta():
    assert OmegaConf.load(CONF / "model" / "beta_vae.yaml") == {"defaults": ["vae", "_self_"], "beta": 4.0}
    vae, beta_vae = composed("model=vae").model, composed("model=beta_vae", "model.beta=1").model
    assert vae == beta_vae


@pytest.mark.parametrize("file", FILES, ids=name)
def test_every_file_says_what_it_is(file):
    lines = [line for line in file.read_text().splitlines() if not line.startswith("# @package")]
    assert re.match(r"# \S+.{15,}", lines[0])


@pytest.mark.parametrize("file", FILES, ids=name)
def test_no_file_names_a_place_on_someones_disk(file):
    for value in scalars(OmegaConf.to_container(OmegaConf.load(file))):
        assert not re.match(r"[/~\\]|[A-Za-z]:\\", str(value)), value


def scalars(node: object) -> Iterator[object]:
    if isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from scalars(value)
    else:
        yield node
