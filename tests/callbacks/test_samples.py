import numpy as np
import pytest
from PIL import Image

from builders import data_module, lit, trainer, vae
from vaelab.callbacks import Samples

NAMES = ["samples/interpolations", "samples/prior", "samples/reconstructions", "samples/traversals"]


@pytest.fixture
def published(monkeypatch) -> list[tuple[int, str]]:
    """(epoch, key) of every picture, in place of the files."""
    seen: list[tuple[int, str]] = []
    monkeypatch.setattr(
        "vaelab.callbacks.samples.publish", lambda trainer, key, _: seen.append((trainer.current_epoch, key))
    )
    return seen


@pytest.mark.parametrize(("every", "epochs"), [(1, [0, 1, 2, 3, 4]), (2, [1, 3]), (10, []), (None, [])])
def test_pictures_are_drawn_every_so_many_epochs(tmp_path, published, every, epochs):
    made = trainer(tmp_path, callbacks=[Samples(every_n_epochs=every)], max_epochs=5)
    made.fit(lit(), datamodule=data_module())
    assert [epoch for epoch, key in published if key == "samples/prior"] == epochs
    assert len(published) == 4 * len(epochs)


def test_pictures_are_drawn_at_the_end(tmp_path, published):
    trainer(tmp_path, callbacks=[Samples(every_n_epochs=None)]).test(
        lit(), datamodule=data_module(), verbose=False
    )
    assert sorted(key for _, key in published) == NAMES


def test_a_sanity_check_draws_nothing(tmp_path, published):
    made = trainer(tmp_path, callbacks=[Samples(every_n_epochs=1)], num_sanity_val_steps=1, max_epochs=1)
    made.fit(lit(), datamodule=data_module())
    assert len(published) == 4


def test_the_originals_are_the_first_held_out_images(tmp_path):
    data = data_module()
    trainer(tmp_path, callbacks=[Samples(images=8)]).test(lit(), datamodule=data, verbose=False)
    low, high = data.value_range
    expected = ((data.val.x[0, 0] - low) / (high - low) * 255).round().numpy()
    with Image.open(tmp_path / "samples" / "reconstructions.png") as picture:
        first = np.asarray(picture)[2 : 2 + 48 : 12, 2 : 2 + 48 : 12]  # 4x4 pixels, magnified twelve times
    assert np.array_equal(first, expected)


def test_two_models_are_shown_with_the_same_z(tmp_path):
    pictures = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        made = trainer(tmp_path / name, callbacks=[Samples()])
        made.test(lit(vae(seed=seed)), datamodule=data_module(), verbose=False)
        pictures.append((tmp_path / name / "samples" / "prior.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]
