"""data=celeba: a folder of the published layout, made here with few photos."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from cli_runner import read_record, small
from vaelab.data.celeba import load_celeba
from vaelab.data.decoding import decode
from vaelab.errors import UserError

NAMES = [f"{number:06}.jpg" for number in range(1, 13)]
SPLITS = [0, 1, 2, 0, 0, 1, 2, 0, 0, 0, 2, 1]  # of each photo
SMILES = [1, -1, -1, 1, 1, 1, -1, 1, -1, -1, 1, -1]


def write_lists(partition, attributes) -> None:
    for file in (partition, attributes):
        file.parent.mkdir(parents=True, exist_ok=True)
    partition.write_text("".join(f"{n} {s}\n" for n, s in zip(NAMES, SPLITS, strict=True)))
    rows = "".join(f"{n}  -1 {s:2}\n" for n, s in zip(NAMES, SMILES, strict=True))
    attributes.write_text(f"{len(NAMES)}\nBald Smiling \n{rows}")


@pytest.fixture
def folder(tmp_path):
    """Photos of 178x218 pixels: dark above and below, each of its own brightness in the middle square."""
    photos = tmp_path / "celeba" / "img_align_celeba"
    photos.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        x = np.zeros((218, 178, 3), np.uint8)
        x[20:198] = 20 * number
        Image.fromarray(x).save(photos / name, quality=95)
    write_lists(tmp_path / "celeba/list_eval_partition.txt", tmp_path / "celeba/list_attr_celeba.txt")
    return tmp_path / "celeba"


def read(folder, **settings):
    return load_celeba(str(folder), str(folder.parent / "data"), **settings)


def test_the_middle_squares_are_in_their_published_splits(folder):
    source = read(folder, size=16, label="Smiling")
    assert source.class_names == ("not Smiling", "Smiling")
    for images, split in ((source.train, 0), (source.val, 1), (source.test, 2)):
        numbers = [number for number, own in enumerate(SPLITS) if own == split]
        x = images.x[torch.arange(len(images))]
        assert x.dtype == torch.uint8
        assert x.shape == (len(numbers), 3, 16, 16)
        for image, number in zip(x.numpy().astype(int), numbers, strict=True):
            assert abs(image[:, 2:-2] - 20 * number).max() <= 2
            assert image.min() >= 0.7 * 20 * number - 4, "the dark parts are cut off, but for a blur"
        assert images.y.tolist() == [int(SMILES[number] == 1) for number in numbers]
    assert read(folder, size=16).train.y is None
    whole = read(folder, size=None).test
    assert whole.image_shape == (3, 218, 178)
    assert np.array_equal(
        whole.x[torch.tensor([1])][0].numpy(),
        decode(folder / "img_align_celeba" / NAMES[6], None, 3, "white"),
    )


def test_it_is_read_as_it_is_published_and_as_it_is_unpacked(folder):
    expected = read(folder, size=8, label="Bald")
    (folder / "Img/img_align_celeba").mkdir(parents=True)
    (folder / "img_align_celeba").rename(folder / "Img/img_align_celeba/img_align_celeba")
    for name in ("list_eval_partition.txt", "list_attr_celeba.txt"):
        (folder / name).unlink()
    write_lists(folder / "Eval/list_eval_partition.txt", folder / "Anno/list_attr_celeba.txt")
    found = read(folder, size=8, label="Bald")
    index = torch.arange(len(expected.train))
    assert torch.equal(found.train.x[index], expected.train.x[index])
    assert found.train.y.tolist() == [0] * 6


def test_part_of_the_photos_is_enough_and_is_said(folder, caplog):
    photos = folder / "img_align_celeba"
    (photos / NAMES[0]).unlink()
    (photos / NAMES[3]).write_bytes(b"no photo")
    (photos / "other.jpg").write_bytes((photos / NAMES[1]).read_bytes())
    for number in (1, 5, 11):
        (photos / NAMES[number]).unlink()
    caplog.set_level(logging.WARNING)
    source = read(folder, size=8)
    assert (len(source.train), source.val, len(source.test)) == (4, None, 3)
    first, second = (record.message for record in caplog.records)
    assert first.startswith(f"Left out 2 of 9 files in {photos}: 1 broken (000004.jpg: ")
    assert "1 not in list_eval_partition.txt (other.jpg)" in first
    assert second == f"{photos} has 7 of the 12 photos in list_eval_partition.txt."
    for number in (2, 6, 10):
        (photos / NAMES[number]).unlink()
    with pytest.raises(
        UserError, match=r"The 4 images of .*img_align_celeba are too few: none is for test. It must"
    ):
        read(folder, size=8)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ("no list", {}, r"celeba has no list_eval_partition.txt. It must have img_align_celeba/ and list_"),
        ("no photos", {}, r"celeba has no img_align_celeba. It must"),
        ("no attributes", {"label": "Smiling"}, r"celeba has no list_attr_celeba.txt"),
        (
            "",
            {"label": "Smilng"},
            r"data.label=Smilng: list_attr_celeba.txt has no .* Did you mean 'Smiling'",
        ),
        ("", {"size": 0}, "data.size=0: must be a whole number"),
        (
            "bad list",
            {},
            r"Line 13 of .*list_eval_partition.txt is damaged: it must be a name and 1 times 0 or 1",
        ),
        (
            "bad attributes",
            {"label": "Bald"},
            r"Line 15 of .*list_attr_celeba.txt is damaged: .* 2 times -1 or 1",
        ),
        (
            "short attributes",
            {"label": "Bald"},
            r"list_attr_celeba.txt has no line for 000012.jpg, which is in",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_named(folder, change, settings, message):
    partition, attributes = folder / "list_eval_partition.txt", folder / "list_attr_celeba.txt"
    if change == "no list":
        partition.unlink()
    elif change == "no photos":
        (folder / "img_align_celeba").rename(folder / "photos")
    elif change == "no attributes":
        attributes.unlink()
    elif change == "bad list":
        partition.write_text(partition.read_text() + "000013.jpg 3\n")
    elif change == "bad attributes":
        attributes.write_text(attributes.read_text() + "000013.jpg 1\n")
    elif change == "short attributes":
        attributes.write_text(attributes.read_text().rpartition("000012")[0])
    with pytest.raises(UserError, match=message):
        read(folder, **settings)


def test_no_folder_is_said():
    with pytest.raises(UserError, match=r"data.path is not set: give your folder of CelebA. It must have"):
        load_celeba(None, "data")


def test_a_run_knows_the_labels(folder, tmp_path):
    settings = (
        "data=celeba",
        f"data.path={folder}",
        "data.size=8",
        "data.label=Smiling",
        "data.val_size=null",
    )
    settings = (*settings, "model=conditional_vae", "likelihood=gaussian", "callbacks=no_pictures")
    result = small(tmp_path, *settings, "data.train_size=null", f"hydra.run.dir={tmp_path}/run")
    assert result.code == 0, result.err
    data = read_record(tmp_path / "run")["data"]
    assert data["class_names"] == ["not Smiling", "Smiling"]
    assert (data["train"], data["val"], data["test"]) == (6, 3, 3)
