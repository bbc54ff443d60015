from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from builders import ae, data_module, lit, trainer, vae
from vaelab.data.datamodule import DataModule
from vaelab.training.callbacks import LatentMap


@pytest.fixture
def published(monkeypatch) -> list[tuple[int, str]]:
    """(epoch, key) of every picture, in place of the files."""
    seen: list[tuple[int, str]] = []
    monkeypatch.setattr(
        "vaelab.training.callbacks.latent_map.publish",
        lambda trainer, key, _: seen.append((trainer.current_epoch, key)),
    )
    return seen


def labelled(data: DataModule) -> DataModule:
    data.val = replace(data.val, y=torch.arange(len(data.val)) % 3)
    return data


@pytest.mark.parametrize("model", [vae(2), ae(2)], ids=["vae", "ae"])
def test_of_two_dimensions_there_is_a_manifold(tmp_path, model):
    trainer(tmp_path, callbacks=[LatentMap()]).test(lit(model), datamodule=data_module(), verbose=False)
    for name, size in (("map", 400), ("manifold", 20 * 50 + 2)):
        with Image.open(tmp_path / "latents" / f"{name}.png") as picture:
            assert min(picture.size) >= size
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10  # something was drawn


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_of_other_dimensions_there_is_none(tmp_path, latent_dim, published):
    made = trainer(tmp_path, callbacks=[LatentMap()])
    made.test(lit(vae(latent_dim)), datamodule=labelled(data_module()), verbose=False)
    assert published == [(0, "latents/map")]


@pytest.mark.parametrize(("every", "epochs"), [(None, []), (2, [1])])
def test_maps_are_drawn_every_so_many_epochs(tmp_path, published, every, epochs):
    made = trainer(
        tmp_path, callbacks=[LatentMap(every_n_epochs=every)], max_epochs=3, num_sanity_val_steps=1
    )
    made.fit(lit(), datamodule=data_module())
    assert [epoch for epoch, _ in published] == epochs


def test_a_lone_held_out_image_has_a_map(tmp_path, published):
    made = trainer(tmp_path, callbacks=[LatentMap()])
    made.test(lit(), datamodule=data_module(val=1), verbose=False)
    assert published == [(0, "latents/map")]


def test_without_a_finite_code_nothing_is_drawn(tmp_path, published):
    data = data_module()
    data.val = replace(data.val, x=torch.full_like(data.val.x, torch.nan))
    trainer(tmp_path, callbacks=[LatentMap()]).test(lit(), datamodule=data, verbose=False)
    assert published == []


def test_a_missing_package_is_said_before_training(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install umap-learn"):
        LatentMap(projection="umap")
