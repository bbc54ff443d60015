from pathlib import Path

import numpy as np
import pytest
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf

from vaelab.data.binarize import MODES
from vaelab.data.datamodule import DataModule
from vaelab.data.images import Source

FOLDER = Path(__file__).parents[2] / "conf" / "data"
CONFIGS = sorted(FOLDER.glob("*.yaml"))


def compose(path: Path, /, **overrides) -> DictConfig:
    """The config as the app sees it, with the one key that it takes from elsewhere."""
    data = OmegaConf.merge(OmegaConf.load(path), overrides)
    return OmegaConf.create({"paths": {"data": "/nowhere"}, "data": data, "seed": 0})


def build(cfg: DictConfig) -> DataModule:
    options = {key: cfg.data.get(key) for key in ("batch_size", "val_size", "train_size", "binarize")}
    return DataModule(
        instantiate(cfg.data.source), test_size=cfg.data.get("test_size"), seed=cfg.seed, **options
    )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_has_its_keys_and_an_existing_source(path):
    data = compose(path).data
    assert path.read_text().startswith("# ")
    assert {"batch_size", "val_size", "train_size", "binarize", "source"} <= set(data)
    assert data.binarize in MODES
    assert get_method(data.source._target_).__annotations__["return"] is Source


def test_the_configs_are_those_of_the_sources():
    names = ["digits", "dsprites", "fashion_mnist", "mnist", "npz", "shapes3d", "sprites"]
    assert [path.stem for path in CONFIGS] == names
    for name in ("mnist", "fashion_mnist", "dsprites", "shapes3d"):
        cfg = compose(FOLDER / f"{name}.yaml")
        assert cfg.data.source.root == "/nowhere"
        assert cfg.data.source._target_.endswith(f".load_{name}")


def test_digits_as_configured():
    data = build(compose(FOLDER / "digits.yaml"))
    assert (len(data.train), len(data.val), len(data.test)) == (1237, 200, 360)
    assert data.value_range == (0.0, 1.0)


def test_sprites_as_configured_but_smaller():
    data = build(compose(FOLDER / "sprites.yaml", size=16, train_size=500, val_size=50))
    assert data.image_shape == (1, 16, 16)
    assert (len(data.train), len(data.val), len(data.test)) == (500, 50, 10_000)


def test_npz_as_configured(tmp_path):
    np.savez(tmp_path / "images.npz", x=np.zeros((300, 3, 8, 8), dtype=np.uint8))
    data = build(compose(FOLDER / "npz.yaml", path=str(tmp_path / "images.npz")))
    assert data.image_shape == (3, 8, 8)
    assert (len(data.train), len(data.val), len(data.test)) == (170, 100, 30)
