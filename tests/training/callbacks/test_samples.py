from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from builders import data_module, lit, trainer, vae
from vaelab.data.datamodule import DataModule
from vaelab.figures import pictures
from vaelab.figures.generation import latent_ranges, traversals
from vaelab.reports.sheets import content_of, grid_rows
from vaelab.training.callbacks import Samples

DURING = [
    f"samples/{name}"
    for name in ("interpolations", "interpolations_spherical", "prior", "reconstructions", "traversals")
]
END = ["samples/arithmetic", "samples/explorer", "samples/mixture"]


def labelled(**options) -> DataModule:
    data = data_module(**options)
    data.val = replace(data.val, y=torch.arange(len(data.val)) % 3)
    return data


@pytest.fixture
def published(monkeypatch) -> list[tuple[int, str]]:
    """(epoch, key) of every picture, in place of the files."""
    seen: list[tuple[int, str]] = []
    monkeypatch.setattr(
        "vaelab.training.callbacks.samples.publish",
        lambda trainer, key, _: seen.append((trainer.current_epoch, key)),
    )
    return seen


@pytest.mark.parametrize(("every", "epochs"), [(2, [1, 3]), (None, [])])
def test_pictures_are_drawn_every_so_many_epochs(tmp_path, published, every, epochs):
    made = trainer(tmp_path, callbacks=[Samples(every_n_epochs=every)], max_epochs=5)
    made.fit(lit(), datamodule=data_module())
    assert [epoch for epoch, key in published if key == "samples/prior"] == epochs
    assert len(published) == 5 * len(epochs)


def test_by_itself_a_single_run_draws_every_ten_epochs_and_a_job_of_a_sweep_never(tmp_path, published):
    for alone in (True, False):
        made = trainer(tmp_path / str(alone), callbacks=[Samples(alone=alone)], max_epochs=11)
        made.fit(lit(), datamodule=data_module())
        assert {epoch for epoch, _ in published} == ({9} if alone else set())
        published.clear()


def at_the_end(folder, data=None, model=None, **options) -> None:
    made = trainer(folder, callbacks=[Samples(every_n_epochs=None, **options)])
    made.test(lit(model), datamodule=data or labelled(), verbose=False)


def test_pictures_are_drawn_at_the_end(tmp_path, published):
    at_the_end(tmp_path)
    assert sorted(key for _, key in published) == sorted(DURING + END)
    assert not (tmp_path / "samples").exists()  # what is published is not written here, but a GIF would be


def test_traversals_move_where_it_is_asked_for(tmp_path, published):
    at_the_end(tmp_path, animation=True)
    with Image.open(tmp_path / "samples/traversals.gif") as picture:
        assert picture.n_frames == 16


@pytest.mark.parametrize("extras", ["auto", False, True])
def test_a_job_of_a_sweep_leaves_out_what_its_report_does_not_show(tmp_path, published, extras):
    at_the_end(tmp_path, extras=extras, alone=False)
    few = ["prior", "reconstructions", "traversals", "mixture", "explorer"]
    expected = DURING + END if extras is True else [f"samples/{name}" for name in few]
    assert sorted(key for _, key in published) == sorted(expected)


@pytest.mark.parametrize("case", ["not asked for", "too many dimensions", "one training image"])
def test_the_mixture_is_left_out(tmp_path, published, case):
    options = {"mixture_images": 0} if case == "not asked for" else {}
    model = vae(65) if case == "too many dimensions" else None
    at_the_end(tmp_path, labelled(train=1 if case == "one training image" else 20), model, **options)
    assert sorted(key for _, key in published) == sorted([*DURING, "samples/arithmetic", "samples/explorer"])


def test_the_explorer_can_be_left_out(tmp_path, published):
    at_the_end(tmp_path, explorer=False)
    assert "samples/explorer" not in {key for _, key in published} > {"samples/mixture"}


def test_a_lone_held_out_image_has_no_interpolation(tmp_path, published):
    at_the_end(tmp_path, labelled(val=1))
    drawn = [*DURING[2:], "samples/explorer", "samples/mixture"]
    assert sorted(key for _, key in published) == sorted(drawn)


def test_images_without_finite_codes_stop_nothing(tmp_path, published):
    data = labelled()
    x = data.val.x.clone()
    x[:3] = torch.nan
    data.val = replace(data.val, x=x)
    at_the_end(tmp_path, data)
    assert sorted(key for _, key in published) == sorted(DURING + END)


def test_the_originals_are_the_first_held_out_images(tmp_path):
    data = data_module()
    trainer(tmp_path, callbacks=[Samples(images=8)]).test(lit(), datamodule=data, verbose=False)
    low, high = data.value_range
    expected = ((data.val.x[0, 0] - low) / (high - low) * 255).round().numpy()
    with Image.open(tmp_path / "samples" / "reconstructions.png") as picture:
        first = np.asarray(content_of(picture))[
            2 : 2 + 48 : 12, 2 : 2 + 48 : 12
        ]  # 4x4 pixels, magnified twelve times
    assert np.array_equal(first, expected)


def test_two_models_are_shown_with_the_same_z(tmp_path):
    drawn = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        made = trainer(tmp_path / name, callbacks=[Samples()])
        made.test(lit(vae(seed=seed)), datamodule=data_module(), verbose=False)
        drawn.append((tmp_path / name / "samples" / "prior.png").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


def test_every_picture_can_be_read_by_itself(tmp_path):
    """800 pixels or wider, with a caption; the comparison finds the images in the file all the same."""
    at_the_end(tmp_path)
    for key in DURING + END:
        with Image.open(tmp_path / f"{key}.png") as picture:
            assert picture.width >= 800
            assert content_of(picture).height < picture.height
            if key != "samples/explorer":  # whose lines are too thin to be a grid's
                assert grid_rows(content_of(picture).convert("RGB"))


def test_a_traversal_is_labelled_by_what_it_shows():
    model, x = vae(), torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    moved = traversals(model, x)
    first, d = pictures.row_labels(moved)[0], int(moved.dimensions[0])
    kl = model.kl_per_dimension(model.encode(x)).mean(0)
    low, high = latent_ranges(model, model.encode(x), torch.tensor([d]))[:, 0].tolist()
    assert d == int(kl.argmax())
    assert first == f"dim {d}, KL {kl[d]:.2f}\n{low:.2f} to {high:.2f}"
