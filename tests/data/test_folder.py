"""data=folder: folders of files made here by Pillow; what is no image is named."""

import math
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from cli_runner import read_record, small
from support.stopper import Stop
from vaelab import load
from vaelab.data import decoded as decoded_images
from vaelab.data.decoding import decode
from vaelab.data.folder import load_folder
from vaelab.data.grouping import grouped, part_by_hash
from vaelab.data.splits import split
from vaelab.errors import UserError
from vaelab.evaluation.trained_run import TrainedRun

RNG = np.random.default_rng(0)


def picture(width=16, height=16):
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def images(tmp_path):
    """Sixty images of 16x16 pixels in two class folders, of names of one and two digits."""
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(30):
            picture().save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


def read(images, root=None, **settings):
    return load_folder(str(images), str(root or images.parent / "data"), **settings)


# what is no image


def test_what_is_left_out_is_named_in_one_line(images, caplog):
    (images / "readme.txt").write_text("x")
    (images / ".hidden.png").write_text("x")
    (images / "cat" / "empty.png").write_bytes(b"")
    (images / "cat" / "text.png").write_text("hello")
    (images / "cat" / "odd\x1b[31m.png").write_text("hello")
    content = (images / "cat" / "0.png").read_bytes()
    (images / "dog" / "cut.png").write_bytes(content[: len(content) // 2])
    picture(7, 30).save(images / "dog" / "tiny.png")
    for _ in range(2):  # the second start reports it too
        caplog.clear()
        source = read(images, size=8)
        assert len(source.train) + len(source.val) + len(source.test) == 60
        [line] = [record.message for record in caplog.records if record.levelname == "WARNING"]
        assert line.startswith(
            f"Left out 6 of 66 files in {images}: 3 broken (cat/odd?[31m.png: of no format"
        )
        assert "1 smaller than data.size=8 (dog/tiny.png: 7x30)" in line
        assert "1 empty (cat/empty.png)" in line
        assert "1 no image by its name (readme.txt)" in line
        assert ".hidden" not in line


def bomb(file, edge):
    """A PNG file of edge x edge pixels whose data are missing: its header alone is read."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0)
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("edge", [10_000, 30_000])  # Pillow warns of the first, and refuses the second
def test_a_decompression_bomb_is_an_error_that_names_it(images, edge):
    bomb(images / "cat" / "bomb.png", edge)
    with pytest.raises(UserError, match=rf"cat/bomb\.png is refused: Image size \({edge**2} pixels\)"):
        read(images, size=8)
    assert not list(images.parent.glob("data/folder/*.npy"))


def test_any_name_will_do(tmp_path):
    top = tmp_path / ("long" * 60)
    top.mkdir()
    for number in range(40):
        picture(4, 4).save(top / f"{number}.png")
    os.rename(top / "0.png", os.fsencode(top) + b"/\xff\n.png")  # no UTF-8
    assert len(read(top).train) + len(read(top).val) + len(read(top).test) == 40


def test_odd_files_warn_of_nothing(images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(images)


def test_links_are_followed_within_the_folder_alone(images, tmp_path, caplog):
    picture().save(tmp_path / "secret.png")
    (images / "cat" / "out.png").symlink_to(tmp_path / "secret.png")
    (images / "up").symlink_to(images.parent)
    (images / "cat" / "loop.png").symlink_to(images / "cat" / "loop.png")
    (images / "dog" / "in.png").symlink_to(images / "cat" / "0.png")
    source = read(images)
    assert len(source.train) + len(source.val) + len(source.test) == 61
    assert "3 a link that leaves the folder, or to a folder (cat/loop.png, cat/out.png, up)" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"size": 32},
            r"has no image that can be used\. Left out 60 of 60 .*60 smaller than data.size=32 \(cat",
        ),
        ({"size": 0}, "data.size=0: must be a whole number >= 1"),
        ({"channels": 4}, r"data.channels=4: must be 3 \(colour\) or 1"),
        ({"background": "red"}, "data.background=red: must be white or black"),
        ({"test_share": 0}, "data.test_share above 0"),
        ({"val_share": 0.6, "test_share": 0.4}, "with a sum below 1"),
        ({"test_share": 1e-9}, "The 60 images of .* are too few: none is for test"),
    ],
)
def test_settings_that_leave_nothing_are_refused(images, settings, message):
    with pytest.raises(UserError, match=message):
        read(images, **settings)


def test_a_path_that_is_no_folder_of_images_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"data\.path is not set"):
        load_folder(None, str(tmp_path))
    with pytest.raises(UserError, match="nowhere does not exist"):
        read(tmp_path / "nowhere")
    with pytest.raises(UserError, match="file is a file; data=npz reads arrays"):
        read(tmp_path / "file")
    with pytest.raises(UserError, match=r"empty has no image files\.$"):
        read(tmp_path / "empty")


def test_images_of_different_sizes_need_a_size(images):
    picture(20, 18).save(images / "dog" / "7.png")
    with pytest.raises(UserError, match=r"cat/0.png is 16x16, dog/7.png is 20x18\. Set data.size=64, or"):
        read(images)
    assert read(images, size=16).train.image_shape == (3, 16, 16)


# the whole folder


def test_images_labels_and_names_stay_together(tmp_path):
    """Each image has the colour of its own number: its split, label and pixels are known from its name."""
    names = [f"{number % 12}/{number}.png" for number in range(120)]
    for number, name in enumerate(names):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 2 * number, 0)).save(tmp_path / "images" / name)
    source = read(tmp_path / "images")
    for part, found in {"train": source.train, "val": source.val, "test": source.test}.items():
        x = found.x[torch.arange(len(found))]
        numbers = x[:, 0, 0, 0].long()
        assert {part_by_hash(names[n], 0.1, 0.1) for n in numbers} == {part}
        assert torch.equal(found.y, numbers % 12)  # folder "10" comes after "9"
        assert torch.equal(x[:, 1, 3, 3].long(), 2 * numbers)
        assert (x[:, 2] == 0).all()
    assert len(source.train) + len(source.val) + len(source.test) == 120


def test_the_second_start_decodes_nothing_until_a_file_changes(images, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        decoded_images, "decode", lambda file, **options: decoded.append(file.name) or decode(file, **options)
    )
    first, second = read(images).train, read(images).train
    assert len(decoded) == 60
    assert torch.equal(first.x[torch.arange(5)], second.x[torch.arange(5)])
    read(images, size=8)
    assert len(decoded) == 120
    picture().save(images / "cat" / "0.png")
    os.utime(images / "cat" / "0.png", ns=(1, 1))  # the size may be the same
    read(images)
    assert len(decoded) == 180
    assert images.is_dir()
    assert not [
        file for file in images.rglob("*") if file.suffix not in ("", ".png")
    ]  # nothing is written there


def test_no_image_changes_its_split_when_others_come():
    names = [f"{number}.png" for number in range(4000)]
    before = dict(zip(names[:2000], grouped(names[:2000], 0.1, 0.2), strict=True))
    after = dict(zip(names, grouped(names, 0.1, 0.2), strict=True))
    assert before.items() <= after.items()
    parts = [place.part for place in after.values()]
    # five standard errors of a share: false alarms below 1e-6
    for part, share in (("val", 0.1), ("test", 0.2), ("train", 0.7)):
        assert abs(parts.count(part) / 4000 - share) < 5 * (share * (1 - share) / 4000) ** 0.5


def test_folders_of_splits_are_the_splits(tmp_path, caplog):
    for place, count in (("train/a", 30), ("train/b", 30), ("test/a", 2), ("test/b", 3), ("other", 1)):
        (tmp_path / "images" / place).mkdir(parents=True)
        for number in range(count):
            picture(4, 4).save(tmp_path / "images" / place / f"{place.replace('/', '')}{number}.png")
    source = read(tmp_path / "images")
    assert source.test.y.tolist() == [0, 0, 1, 1, 1]
    assert len(source.train) + len(source.val) == 60
    assert "1 outside of train, val and test (other/other0.png)" in caplog.text
    assert read(tmp_path / "images", val_share=0).val is None


@pytest.mark.parametrize(
    ("tops", "by_folder"),
    [
        (["train", "val"], True),
        (["Train", "validation", "x"], True),
        (["train"], True),
        (["train", "bus"], False),
        (["test", "a"], False),
    ],
)
def test_a_class_may_be_called_train(tops, by_folder):
    places = grouped([f"{top}/x/{n}.png" for top in tops for n in range(50)], 0.1, 0.1)
    assert {place.label for place in places} == ({"x"} if by_folder else set(tops))


def test_images_beside_class_folders_leave_no_labels(images, caplog):
    picture().save(images / "loose.png")
    assert read(images).train.y is None
    assert "No labels: 1 images lie in no class folder, beside those in cat, dog." in caplog.text


def test_grey_images_are_noticed(tmp_path, caplog):
    for number in range(40):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("L", (4, 4), number).save(tmp_path / "images" / f"{number}.png")
    with caplog.at_level("INFO"):
        assert read(tmp_path / "images").train.image_shape == (3, 4, 4)
    assert "All are grey: data.channels=1" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        assert read(tmp_path / "images", channels=1).train.image_shape == (1, 4, 4)
    assert "All are grey" not in caplog.text


def test_own_validation_images_need_no_val_size(images):
    source = read(images)
    with pytest.raises(ValueError, match=r"val_size=5, but this data has its own \d+ validation images"):
        split(source, val_size=5, train_size=None)
    splits = split(source, val_size=None, train_size=20)
    assert (len(splits.train), len(splits.val)) == (20, len(source.val))
    assert splits.value_range == (0.0, 1.0)


def test_real_photos_are_cut_and_read_whole(tmp_path):
    """Crops of scikit-learn's two photos, in a folder each."""
    photos = dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    tops, lefts = range(0, 400, 100), range(0, 600, 100)
    for name, photo in photos.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        for top in tops:
            for left in lefts:
                crop = Image.fromarray(photo[top : top + 32, left : left + 32])
                crop.save(tmp_path / "images" / name / f"{top}-{left}.png")
    source = read(tmp_path / "images", val_share=0)
    found = {
        (int(label), x.numpy().tobytes())
        for part in (source.train, source.test)
        for label, x in zip(part.y, part.x[torch.arange(len(part))], strict=True)
    }
    assert found == {
        (label, photo[top : top + 32, left : left + 32].transpose(2, 0, 1).tobytes())
        for label, photo in enumerate(photos.values())
        for top in tops
        for left in lefts
    }


# runs


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("flop=true", "data.augment.flop: Did you mean 'flip'?"),
        ("crop=-1", "data.augment.crop=-1: must be a whole number >= 0."),
        ("crop=true", "data.augment.crop=true: must be a whole number >= 0."),
        ("crop=8", "data.augment.crop=8 must be 0 to 7 pixels, for images of 8x8."),
    ],
)
def test_an_augmentation_that_is_none_is_named(tmp_path, setting, text):
    result = small(tmp_path, f"+data.augment.{setting}")
    assert (result.code, result.err.strip()) == (2, f"vaelab-train: {text}")


@pytest.mark.slow
def test_a_run_records_resumes_loads_and_evaluates(images, tmp_path):
    command = (
        "data=folder",
        f"data.path={images}",
        "data.size=8",
        "data.val_size=null",
        "data.train_size=null",
    )
    command = (*command, "data.augment.flip=true", "likelihood=discretized_logistic")
    settings = (*command, f"hydra.run.dir={tmp_path}/run", "callbacks=no_pictures")
    assert small(tmp_path, *settings).code == 0
    record = read_record(tmp_path / "run")
    assert record["data"]["image_shape"] == [3, 8, 8]
    assert record["data"]["class_names"] == ["cat", "dog"]
    metrics = record["metrics"]  # bits for each channel of each pixel
    bits = -metrics["test/elbo"] / (3 * 8 * 8 * math.log(2))
    assert metrics["test/bits_per_dimension"] == pytest.approx(bits, rel=1e-5)
    assert "finished" in small(tmp_path, *settings).out  # skipped
    moved = images.rename(tmp_path / "moved")
    settings = tuple(setting.replace(str(images), str(moved)) for setting in settings)
    longer = small(tmp_path, *settings, "trainer.max_epochs=2")
    assert longer.code == 0, longer.err
    assert read_record(tmp_path / "run")["data"] == record["data"]
    trained = TrainedRun(
        tmp_path / "run", read_record(tmp_path / "run"), tmp_path
    )  # as vaelab-evaluate reads it
    assert trained.images("test").shape == (record["data"]["test"], 3, 8, 8)
    loaded = load(tmp_path / "run")
    assert loaded.reconstruct(loaded.sample(2)).shape == (2, 3, 8, 8)
    (moved / "cat" / "0.png").write_bytes((moved / "cat" / "0.png").read_bytes() + b"x")
    refused = small(tmp_path, *settings, "trainer.max_epochs=2")
    assert refused.code == 2
    assert "moved has changed since" in refused.err


@pytest.mark.slow
def test_a_continued_run_changes_images_as_one_that_was_never_stopped(images, tmp_path):
    stop = "+callbacks.stop._target_=support.stopper.Stop"
    settings = (
        *("data=folder", f"data.path={images}", "data.size=8", "data.val_size=null", "data.train_size=null"),
        *(
            "data.batch_size=16",
            "data.augment.flip=true",
            "data.augment.crop=1",
            "callbacks=no_pictures",
            "trainer.max_epochs=2",
            stop,
        ),
    )
    try:
        for name in ("whole", "stopped"):
            Stop.at("train_batch_end" if name == "stopped" else None, 4)
            small(tmp_path, *settings, f"hydra.run.dir={tmp_path}/{name}")
        assert read_record(tmp_path / "stopped")["status"] == "interrupted"
        Stop.at(None)
        assert small(tmp_path, *settings, f"hydra.run.dir={tmp_path}/stopped").code == 0
    finally:
        Stop.at(None)
    whole, again = (read_record(tmp_path / name)["metrics"] for name in ("whole", "stopped"))
    assert again == whole
