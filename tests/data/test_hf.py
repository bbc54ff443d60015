"""data=hf: data sets in folders, written here by the library itself; without it, its absence is tested."""

import io
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from cli_runner import read_record, small
from vaelab.data import decoded, hf
from vaelab.data.decoding import decode
from vaelab.data.hf import load_hf
from vaelab.errors import UserError

RNG = np.random.default_rng(0)
PIXELS = {
    part: RNG.integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)
    for part, count in (("train", 30), ("test", 8))
}


@pytest.fixture
def datasets():
    library = pytest.importorskip("datasets", reason="pip install 'vaelab[hf]'")
    library.disable_progress_bars()
    return library


def encoded(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


def table(datasets, part: str, **columns):
    """A table of images, classes, numbers and words; other columns are given as (values, feature)."""
    count = len(PIXELS[part])
    numbers = np.arange(count) % 3
    made = {
        "picture": ([{"bytes": encoded(x), "path": None} for x in PIXELS[part]], datasets.Image()),
        "kind": (numbers, datasets.ClassLabel(names=["cat", "dog", "eel"])),
        "number": (10 * numbers, datasets.Value("int64")),
        "word": ([("pear", "fig", "apple")[n] for n in numbers], datasets.Value("string")),
        **columns,
    }
    features = datasets.Features({name: feature for name, (_, feature) in made.items()})
    return datasets.Dataset.from_dict({name: values for name, (values, _) in made.items()}, features=features)


def write(folder: Path, tables) -> None:
    """As the hub has them: a file for each split."""
    (folder / "data").mkdir(parents=True)
    for split, rows in tables.items():
        rows.to_parquet(str(folder / "data" / f"{split}-00000-of-00001.parquet"))


@pytest.fixture
def folder(tmp_path, datasets):
    write(tmp_path / "set", {part: table(datasets, part) for part in PIXELS})
    return tmp_path / "set"


def read(folder, **settings):
    settings = {"image": "picture", "label": "kind", **settings}
    return load_hf(str(folder), str(Path(folder).parent / "root"), **settings)


def contents(images) -> dict[bytes, int]:
    """The label of each image, by its pixels."""
    x = images.x[torch.arange(len(images))].permute(0, 2, 3, 1).numpy()
    return {pixels.tobytes(): int(y) for pixels, y in zip(x, images.y, strict=True)}


@pytest.mark.parametrize("saved", [False, True])
def test_images_and_labels_stay_together_in_their_splits(tmp_path, folder, datasets, saved):
    if saved:
        folder = tmp_path / "saved"
        datasets.DatasetDict({part: table(datasets, part) for part in PIXELS}).save_to_disk(folder)
    source = read(folder, val_share=0)
    assert source.class_names == ("cat", "dog", "eel")
    assert source.val is None
    for images, part in ((source.train, "train"), (source.test, "test")):
        assert images.x.dtype == torch.uint8
        assert images.x.shape == (len(PIXELS[part]), 3, 6, 5)
        assert contents(images) == {x.tobytes(): n % 3 for n, x in enumerate(PIXELS[part])}


def test_a_split_that_is_missing_gets_its_share(tmp_path, datasets):
    write(tmp_path / "one", {"full": table(datasets, "train")})
    write(tmp_path / "two", {"train": table(datasets, "train"), "validation": table(datasets, "test")})
    write(tmp_path / "three", {"train": table(datasets, "train"), "extra": table(datasets, "test")})
    everything = {x.tobytes() for x in PIXELS["train"]}
    one, two, three = (
        read(tmp_path / name, val_share=0.2, test_share=0.2) for name in ("one", "two", "three")
    )
    for source in (one, three):
        parts = [set(contents(part)) for part in (source.train, source.val, source.test)]
        assert set.union(*parts) == everything
        assert sum(map(len, parts)) == 30
    assert set(contents(two.val)) == {x.tobytes() for x in PIXELS["test"]}
    assert set(contents(two.train)) | set(contents(two.test)) == everything
    write(tmp_path / "four", {"full": table(datasets, "train"), "extra": table(datasets, "test")})
    with pytest.raises(UserError, match=r"four has no split 'train'; it has: extra, full\."):
        read(tmp_path / "four")


def test_words_and_numbers_are_labels(folder):
    source = read(folder, label="word")
    assert source.class_names == ("apple", "fig", "pear")
    assert contents(source.test) == {x.tobytes(): 2 - n % 3 for n, x in enumerate(PIXELS["test"])}
    source = read(folder, label="number")
    assert source.class_names == ()
    assert contents(source.test) == {x.tobytes(): 10 * (n % 3) for n, x in enumerate(PIXELS["test"])}
    assert read(folder, label=None).train.y is None


def test_the_second_start_decodes_nothing_until_the_data_change(folder, datasets, monkeypatch):
    asked = []
    monkeypatch.setattr(
        decoded, "decode", lambda file, **options: asked.append(options["name"]) or decode(file, **options)
    )
    first, second = read(folder).test, read(folder).test
    assert (len(asked), asked[0]) == (38, f"train/0 of {folder}")
    assert contents(first) == contents(second)
    read(folder, size=4)
    assert len(asked) == 76
    table(datasets, "train").to_parquet(str(folder / "data" / "test-00000-of-00001.parquet"))
    assert len(read(folder).test) == 30
    assert len(asked) == 136


def test_rows_without_an_image_are_left_out_and_named(tmp_path, datasets, caplog):
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(PIXELS["test"][0]))
    rows = [{"bytes": encoded(x), "path": None} for x in PIXELS["train"]]
    rows[2] = None
    rows[3] = {"bytes": None, "path": str(secret)}
    rows[4] = {"bytes": None, "path": "https://example.org/a.png"}
    rows[5] = {"bytes": b"no image", "path": None}
    write(tmp_path / "set", {part: table(datasets, part) for part in PIXELS})
    plain = table(
        datasets, "train"
    ).data.table  # as a stranger may write it: the library would fetch the files
    place = plain.schema.get_field_index("picture")
    plain = plain.set_column(place, plain.schema.field(place), [rows])
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(plain, tmp_path / "set" / "data" / "train-00000-of-00001.parquet")
    caplog.set_level(logging.WARNING)
    source = read(tmp_path / "set", val_share=0)
    (record,) = caplog.records
    assert record.message.startswith(f"Left out 4 of 38 images in {tmp_path / 'set'}: ")
    for text in (
        "2 a path that leaves the data set (train/3, train/4)",
        "1 empty (train/2)",
        "1 broken (train/5: of no format that Pillow reads)",
    ):
        assert text in record.message
    kept = [n for n in range(30) if n not in (2, 3, 4, 5)]
    assert contents(source.train) == {PIXELS["train"][n].tobytes(): n % 3 for n in kept}


def test_a_folder_of_files_is_read_where_they_lie(tmp_path, datasets):
    for number, x in enumerate(PIXELS["train"]):
        file = tmp_path / "set" / "train" / ("cat" if number % 2 else "dog") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(x))
    source = read(tmp_path / "set", image="image", label="label", val_share=0)
    found = {**contents(source.train), **contents(source.test)}
    assert found == {x.tobytes(): 1 - n % 2 for n, x in enumerate(PIXELS["train"])}
    assert source.class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"image": "pictur"},
            r"data.image=pictur: .* has no such column. Did you mean 'picture'\? Set data.image\.",
        ),
        ({"label": "kid"}, r"data.label=kid: .* Did you mean 'kind'\? Set data.label, or null for none\."),
        ({"image": "word"}, r"data.image=word: the column of .* is Value\('string'\); it must be Image\."),
        ({"label": "picture"}, r"data.label=picture: the column .* must be ClassLabel or Value\."),
        ({"channels": 2}, r"data.channels=2: must be 3"),
        ({"test_share": 0}, r"data.test_share=0 must be shares"),
        (
            {"size": 7},
            r"has no image that can be used. Left out 38 of 38 images in .* smaller than data.size=7",
        ),
    ],
)
def test_a_wrong_setting_is_named(folder, settings, message):
    with pytest.raises(UserError, match=message):
        read(folder, **settings)


def test_columns_that_cannot_be_labels_are_named(tmp_path, datasets):
    halves = table(datasets, "train", kind=(np.arange(30) / 2, datasets.Value("float64")))
    some = table(datasets, "train", kind=([None, *range(29)], datasets.Value("int64")))
    for number, (rows, message) in enumerate(
        [
            (halves, r"is Value\('float64'\); labels must be"),
            (some, "1 rows of .* have no label. Set data.label=n"),
        ]
    ):
        write(tmp_path / str(number), {"train": rows})
        with pytest.raises(UserError, match=message):
            read(tmp_path / str(number))


def test_sizes_that_differ_need_a_size(tmp_path, datasets):
    rows = [{"bytes": encoded(RNG.integers(0, 256, (6 + n % 2, 6, 3), dtype=np.uint8))} for n in range(30)]
    write(tmp_path / "set", {"train": table(datasets, "train", picture=(rows, datasets.Image()))})
    with pytest.raises(UserError, match=r"differ in size: train/0 is 6x6, train/1 is 6x7. Set data.size=64"):
        read(tmp_path / "set")
    assert read(tmp_path / "set", size=4, channels=1).train.image_shape == (1, 4, 4)


def test_what_is_no_data_set_is_said_and_its_code_is_not_run(tmp_path, datasets):
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "script.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("script", "scripts are no longer supported"),
        ("empty", "doesn't contain any data"),
    ):
        with pytest.raises(UserError, match=f"^data.name={tmp_path / name} can't be read: .*{message}"):
            read(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    for name in ("nothing", "script/script.py"):
        with pytest.raises(
            UserError, match=rf"{name} is no folder. It must be one, or a data set of the hub"
        ):
            read(tmp_path / name)


def test_without_the_library_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"data.name is not set: give a data set of the hub, or a folder"):
        load_hf(None, str(tmp_path))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"by the library datasets: pip install 'vaelab\[hf\]'"):
        load_hf("a/b", str(tmp_path))
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(__version__="3.6.0"))
    with pytest.raises(
        UserError, match=r"datasets 3.6.0 runs scripts of data sets; data=hf needs 4 or later"
    ):
        load_hf("a/b", str(tmp_path))


def test_files_of_the_hub_are_read_from_the_librarys_downloads_alone(tmp_path, datasets, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_CACHE_HOME", tmp_path / "home")
    (tmp_path / "home").mkdir()
    places = hf._places("someone/pictures", tmp_path / "cache")
    assert {tmp_path / "home", tmp_path / "cache"} < set(places)
    for file, inside in ((tmp_path / "home" / "a.png", True), (tmp_path / "b.png", False)):
        file.write_bytes(b"content")
        if inside:
            assert hf._bytes({"bytes": None, "path": str(file)}, places).read() == b"content"
        else:
            with pytest.raises(decoded.Unfit, match=r"^$"):
                hf._bytes({"bytes": None, "path": str(file)}, places)


@pytest.mark.slow
def test_a_run_records_its_classes_and_resumes(folder, tmp_path):
    settings = ("data=hf", f"data.name={folder}", "data.image=picture", "data.label=kind", "data.size=4")
    settings = (*settings, "data.val_size=null", "data.train_size=null", "likelihood=gaussian")
    settings = (
        *settings,
        f"paths.data={tmp_path}/root",
        f"hydra.run.dir={tmp_path}/run",
        "callbacks=no_pictures",
    )
    result = small(tmp_path, *settings)
    assert result.code == 0, result.err
    data = read_record(tmp_path / "run")["data"]
    assert (data["class_names"], data["image_shape"]) == (["cat", "dog", "eel"], [3, 4, 4])
    assert (data["train"] + data["val"], data["test"]) == (30, 8)
    longer = small(tmp_path, *settings, "trainer.max_epochs=2")
    assert longer.code == 0, longer.err
    assert read_record(tmp_path / "run")["data"] == data
    wrong = small(tmp_path, *settings, "data.label=knd", f"hydra.run.dir={tmp_path}/wrong")
    assert (wrong.code, len(wrong.err.strip().splitlines())) == (2, 1)
    assert "data.label=knd" in wrong.err
    assert "Did you mean 'kind'?" in wrong.err
