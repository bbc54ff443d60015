import numpy as np
import pytest
from PIL import Image

from builders import ae, data_module, lit, trainer, vae
from vaelab.training.callbacks import KLPictures


def test_the_kl_of_every_epoch_is_kept_and_drawn(tmp_path):
    pictures, model = KLPictures(), lit()
    made = trainer(tmp_path, callbacks=[pictures], max_epochs=3)
    made.fit(model, datamodule=data_module())
    assert pictures.epochs == [0, 1, 2]
    assert [len(row) for row in pictures.history] == [3, 3, 3]
    assert pictures.history[-1] == pytest.approx(model.results["val"]["kl_per_dim"].tolist())
    made.test(model, datamodule=data_module(), verbose=False)
    for name in ("kl_per_dim", "kl_over_training"):
        with Image.open(tmp_path / "latents" / f"{name}.png") as picture:
            assert np.asarray(picture).std() > 5


def test_a_sanity_check_is_no_epoch(tmp_path):
    pictures = KLPictures()
    trainer(tmp_path, callbacks=[pictures], num_sanity_val_steps=2, max_epochs=1).fit(
        lit(), datamodule=data_module()
    )
    assert pictures.epochs == [0]


def test_without_a_kl_nothing_is_drawn(tmp_path):
    pictures, model = KLPictures(), lit(ae())
    made = trainer(tmp_path, callbacks=[pictures])
    made.fit(model, datamodule=data_module())
    made.test(model, datamodule=data_module(), verbose=False)
    assert model.results["test"]["kl_per_dim"].isnan().all()
    assert pictures.history == []
    assert not (tmp_path / "latents").exists()


def test_a_single_dimension_is_drawn(tmp_path):
    pictures, model = KLPictures(), lit(vae(1))
    made = trainer(tmp_path, callbacks=[pictures], max_epochs=1)
    made.fit(model, datamodule=data_module())
    made.test(model, datamodule=data_module(), verbose=False)
    assert pictures.history == [pytest.approx(model.results["val"]["kl_per_dim"].tolist())]
    assert model.results["test"]["kl_per_dim"].shape == (1,)
    assert {path.stem for path in (tmp_path / "latents").iterdir()} == {"kl_per_dim", "kl_over_training"}


@pytest.mark.parametrize(
    ("options", "drawn"),
    [({"alone": False}, False), ({"alone": False, "draw": True}, True), ({"draw": False}, False)],
)
def test_a_job_of_a_sweep_draws_none_unless_asked(tmp_path, options, drawn):
    made = trainer(tmp_path, callbacks=[KLPictures(**options)], max_epochs=1)
    model = lit()
    made.fit(model, datamodule=data_module())
    made.test(model, datamodule=data_module(), verbose=False)
    assert (tmp_path / "latents").exists() == drawn
