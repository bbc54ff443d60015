"""data=cifar10: an archive of the published layout, made here with few images."""

import io
import math
import tarfile

import numpy as np
import pytest
import torch

from cli_runner import read_record, small
from support.checksums import md5
from vaelab.data import cifar10
from vaelab.data.cifar10 import CIFAR10, CLASSES, RECORD, TEST, TRAIN, load_cifar10
from vaelab.errors import UserError

(NAME,) = CIFAR10.checksums
OTHERS = {
    "cifar-10-batches-bin/batches.meta.txt": b"airplane\n",
    "cifar-10-batches-bin/readme.html": b"<html>",
}
RNG = np.random.default_rng(0)


def records(count: int) -> np.ndarray:
    rows = RNG.integers(0, 256, (count, RECORD), dtype=np.uint8)
    rows[:, 0] = np.arange(count) % 10
    return rows


def archive(parts: dict[str, bytes], kind: str = "w:gz") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=kind) as tar:
        for name, part in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(part)
            tar.addfile(info, io.BytesIO(part))
    return content.getvalue()


@pytest.fixture(scope="module")
def parts() -> dict[str, np.ndarray]:
    """Of each part of the archive, the records; the fourth comes first, as an archive may have it."""
    order = (TRAIN[3], *TRAIN[:3], TEST, TRAIN[4])
    return {name: records(8 if name == TEST else 4 + number) for number, name in enumerate(order)}


def packed(parts: dict[str, np.ndarray], **changes: bytes | None) -> bytes:
    content = {**OTHERS, **{name: rows.tobytes() for name, rows in parts.items()}}
    for name, part in changes.items():
        content[f"cifar-10-batches-bin/{name}.bin"] = part
    return archive({name: part for name, part in content.items() if part is not None})


def test_the_images_are_planes_of_red_green_and_blue_in_the_order_of_the_batches(tmp_path, parts):
    (tmp_path / "mine.tar.gz").write_bytes(packed(parts))
    source = load_cifar10(str(tmp_path / "data"), str(tmp_path / "mine.tar.gz"))
    for images, rows in (
        (source.train, np.concatenate([parts[name] for name in TRAIN])),
        (source.test, parts[TEST]),
    ):
        assert images.x.dtype == torch.uint8
        assert images.x.shape == (len(rows), 3, 32, 32)
        assert images.y.tolist() == rows[:, 0].tolist()
        for channel, row, column in ((0, 0, 0), (0, 31, 2), (1, 7, 30), (2, 31, 31)):
            place = 1 + 1024 * channel + 32 * row + column
            assert images.x[:, channel, row, column].tolist() == rows[:, place].tolist()
    assert source.class_names[3] == "cat"
    assert len(source.class_names) == 10
    assert not (tmp_path / "data").exists(), "nothing is unpacked"


@pytest.mark.parametrize(("place", "kind"), [("cifar10/" + NAME, "w:gz"), (NAME.removesuffix(".gz"), "w")])
def test_an_archive_in_the_root_needs_no_download(tmp_path, parts, place, kind):
    (tmp_path / "cifar10").mkdir()
    (tmp_path / place).write_bytes(archive({name: rows.tobytes() for name, rows in parts.items()}, kind))
    assert len(load_cifar10(str(tmp_path), download=False).test) == 8


def test_it_is_downloaded_once_and_checked(tmp_path, parts, mirror, monkeypatch):
    mirror.files[NAME] = packed(parts)
    here = CIFAR10._replace(mirrors=(mirror.url,))
    monkeypatch.setattr(cifar10, "CIFAR10", here)
    with pytest.raises(UserError, match=r"wrong checksum(.|\n)*as the binary version"):
        load_cifar10(str(tmp_path))
    monkeypatch.setattr(cifar10, "CIFAR10", here._replace(checksums={NAME: md5(mirror.files[NAME])}))
    for _ in range(2):
        assert len(load_cifar10(str(tmp_path)).train) == sum(len(parts[name]) for name in TRAIN)
    assert mirror.asked == [NAME] * 2
    assert [file.name for file in (tmp_path / "cifar10").iterdir()] == [NAME]


PICKLED = {f"cifar-10-batches-py/{name}": b"\x80\x02}q\x00." for name in ("data_batch_1", "test_batch")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data_batch_2": None}, f"is not the binary version of CIFAR-10: it has no {TRAIN[1]}. It is publ"),
        ({"data_batch_2": b""}, r"data_batch_2.bin of .* is damaged: it has 0 bytes, no multiple of 3073"),
        ({"test_batch": bytes(RECORD + 1)}, r"test_batch.bin of .* has 3074 bytes"),
        ({"test_batch": b"\x0a" + bytes(3072)}, r"has the class 10, and CIFAR-10's are 0 to 9"),
    ],
)
def test_another_archive_is_refused_by_name(tmp_path, parts, content, message):
    (tmp_path / "mine.tar.gz").write_bytes(packed(parts, **content))
    with pytest.raises(UserError, match=message):
        load_cifar10(str(tmp_path), str(tmp_path / "mine.tar.gz"))


def test_the_pickled_version_is_not_read(tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(archive(PICKLED))
    with pytest.raises(
        UserError, match=r"python.tar.gz is not the binary version of CIFAR-10: .* the binary"
    ):
        load_cifar10(str(tmp_path), str(tmp_path / "cifar-10-python.tar.gz"))


def test_a_link_in_the_archive_is_not_followed(tmp_path, parts):
    """A part that names a file of the reader's own."""
    content = io.BytesIO(packed(parts, test_batch=None))
    with tarfile.open(fileobj=content) as tar:
        kept = {member.name: tar.extractfile(member).read() for member in tar}
    with tarfile.open(tmp_path / "mine.tar.gz", "w:gz") as tar:
        for name, part in kept.items():
            info = tarfile.TarInfo(name)
            info.size = len(part)
            tar.addfile(info, io.BytesIO(part))
        link = tarfile.TarInfo(TEST)
        link.type, link.linkname = tarfile.SYMTYPE, TRAIN[0]
        tar.addfile(link)
    with pytest.raises(UserError, match=f"it has no {TEST}"):
        load_cifar10(str(tmp_path), str(tmp_path / "mine.tar.gz"))


def test_damage_and_bombs_are_refused(tmp_path, parts):
    file = tmp_path / "mine.tar.gz"
    whole = packed(parts)
    for damaged in (b"no archive", whole[: len(whole) // 2], whole[:1000] + bytes(50) + whole[1050:]):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"mine.tar.gz is not a .tar.gz archive, or is damaged: .*again"):
            load_cifar10(str(tmp_path), str(file))
    huge = tarfile.TarInfo(TRAIN[0])
    huge.size = 2**50 * RECORD
    file.write_bytes(huge.tobuf())
    with pytest.raises(UserError, match=r"data_batch_1.bin of .* would take .* TB of memory"):
        load_cifar10(str(tmp_path), str(file))


@pytest.mark.slow
def test_a_run_says_bits_of_each_channel_of_a_pixel(tmp_path, parts):
    (tmp_path / "mine.tar.gz").write_bytes(packed(parts))
    settings = (
        "data=cifar10",
        f"data.path={tmp_path}/mine.tar.gz",
        "data.val_size=8",
        "data.train_size=null",
    )
    settings = (*settings, "likelihood=discretized_logistic", f"hydra.run.dir={tmp_path}/run")
    result = small(tmp_path, *settings, "callbacks=no_pictures")
    assert result.code == 0, result.err
    record = read_record(tmp_path / "run")
    assert record["data"]["image_shape"] == [3, 32, 32]
    assert record["data"]["class_names"] == list(CLASSES)
    bits = -record["metrics"]["test/elbo"] / (3 * 32 * 32 * math.log(2))
    assert record["metrics"]["test/bits_per_dimension"] == pytest.approx(bits, rel=1e-5)
