import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from support.checksums import md5
from vaelab.data.download import Published
from vaelab.data.idx import FASHION_MNIST, MNIST, load_fashion_mnist, load_idx, load_mnist, read_idx
from vaelab.errors import UserError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
NAMES = tuple(name.removesuffix(".gz") for name in MNIST.checksums)


def idx_bytes(array: np.ndarray, kind: int = 8) -> bytes:
    return bytes((0, 0, kind, array.ndim)) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """A small data set with MNIST's file names: 12 images of 5x4 to train on, 3 to test on."""
    random = np.random.default_rng(0)
    shapes = ((12, 5, 4), (12,), (3, 5, 4), (3,))
    return {
        name: random.integers(0, 256, shape, dtype=np.uint8)
        for name, shape in zip(NAMES, shapes, strict=True)
    }


def write(folder: Path, arrays: dict[str, np.ndarray], packed: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        content = idx_bytes(array)
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("folder", ["", "MNIST/raw"])
def test_files_are_found_in_either_place_plain_or_packed(tmp_path, arrays, packed, folder):
    write(tmp_path / folder, arrays, packed)
    source = load_mnist(str(tmp_path), download=False)
    assert source.train.x.dtype == torch.uint8
    assert source.train.x.shape == (12, 1, 5, 4)
    assert np.array_equal(source.train.x.squeeze(1).numpy(), arrays[NAMES[0]])
    assert np.array_equal(source.train.y.numpy(), arrays[NAMES[1]])
    assert source.train.y.dtype == torch.int64
    assert np.array_equal(source.test.x.squeeze(1).numpy(), arrays[NAMES[2]])
    assert np.array_equal(source.test.y.numpy(), arrays[NAMES[3]])


def test_two_data_sets_share_a_root_without_passing_for_each_other(tmp_path, arrays):
    inverted = {name: 255 - array for name, array in arrays.items()}
    write(tmp_path / MNIST.folder, arrays, packed=True)
    write(tmp_path / FASHION_MNIST.folder, inverted, packed=True)
    mnist, fashion = load_mnist(str(tmp_path), False), load_fashion_mnist(str(tmp_path), False)
    assert torch.equal(mnist.train.x, 255 - fashion.train.x)


def test_all_missing_files_are_named_and_what_to_do(tmp_path, arrays):
    write(tmp_path, {NAMES[0]: arrays[NAMES[0]]}, packed=True)
    with pytest.raises(UserError) as caught:
        load_fashion_mnist(str(tmp_path), download=False)
    first, second = str(caught.value).split("\n")
    assert all(name in first for name in NAMES[1:])
    assert NAMES[0] not in first
    assert str(tmp_path / "FashionMNIST/raw") in second
    assert "data.root=/usr/share/datasets/fashion-mnist" in second


SMALL = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
WHOLE = idx_bytes(SMALL)
PACKED = gzip.compress(WHOLE, mtime=0)  # the same in every process, which names its tests by it


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a", b"", "is not an IDX file .* begins with nothing"),
        ("a", b"<html><body>", "begins with 3c 68 74 6d, not with 00 00 08 03"),
        ("a", idx_bytes(SMALL[0, 0]), "begins with 00 00 08 01, not with 00 00 08 03"),
        ("a", idx_bytes(SMALL, kind=13), "begins with 00 00 0d 03"),
        ("a", WHOLE[:10], "is damaged: .* 0 bytes follow"),
        ("a", WHOLE[:-1], r"is damaged: its header says \(2, 3, 4\), and 23 bytes follow"),
        ("a", WHOLE + b"\0", "more than 24 bytes follow"),
        ("a", idx_bytes(SMALL[:0]), r"its header says \(0, 3, 4\)"),
        ("a", bytes((0, 0, 8, 3)) + struct.pack(">3i", -2, -3, 4) + bytes(24), "is damaged"),
        ("a.gz", WHOLE, "cannot be read: Not a gzipped file"),
        ("a.gz", PACKED[:-9], "cannot be read"),
        ("a.gz", PACKED[:-8] + bytes(8), "cannot be read: CRC"),
        ("a.gz", PACKED[:12] + b"\xff\xff\xff" + PACKED[15:], "cannot be read"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_images_and_labels_must_be_of_one_set(tmp_path, arrays):
    write(tmp_path, {**arrays, NAMES[1]: arrays[NAMES[1]][:-1]}, packed=False)
    with pytest.raises(UserError, match=r"train-images.* has 12 images, but .*train-labels.* has 11 labels"):
        load_mnist(str(tmp_path), download=False)


def published(arrays: dict[str, np.ndarray], mirrors: list[str]) -> tuple[Published, dict[str, bytes]]:
    """The small data set as if it were published: its description and the files on its mirrors."""
    files = {f"{name}.gz": gzip.compress(idx_bytes(array), mtime=0) for name, array in arrays.items()}
    checksums = {name: md5(content) for name, content in files.items()}
    return Published("Small/raw", checksums, tuple(mirrors), "Ask the authors."), files


def test_only_what_is_missing_is_downloaded(tmp_path, arrays, mirror):
    data, files = published(arrays, [mirror.url])
    mirror.files.update(files)
    write(tmp_path, {NAMES[0]: arrays[NAMES[0]]}, packed=False)
    source = load_idx(data, str(tmp_path), download=True)
    assert np.array_equal(source.test.x.squeeze(1).numpy(), arrays[NAMES[2]])
    assert sorted(mirror.asked) == sorted(f"{name}.gz" for name in NAMES[1:])
    assert sorted(p.name for p in (tmp_path / "Small/raw").iterdir()) == sorted(mirror.asked)
    mirror.asked.clear()
    load_idx(data, str(tmp_path), download=True)
    assert mirror.asked == [], "what is there is not asked for again"


def test_a_failed_download_says_what_to_do_by_hand(tmp_path, arrays, mirror):
    data, files = published(arrays, [mirror.url])
    mirror.files.update(files)
    del mirror.files[f"{NAMES[2]}.gz"]
    with pytest.raises(UserError) as caught:
        load_idx(data, str(tmp_path), download=True)
    first, second = str(caught.value).split("\n")
    assert f"Could not download {NAMES[2]}.gz: {mirror.url} answered 404." in first
    assert f"Missing: {NAMES[2]}.gz, {NAMES[3]}.gz." in first
    assert str(tmp_path / "Small/raw") in second
    assert "data.root=" in second


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_real_fashion_mnist():
    source = load_fashion_mnist(str(DEBIAN), download=False)
    assert source.train.x.shape == (60_000, 1, 28, 28)
    assert source.test.x.shape == (10_000, 1, 28, 28)
    assert source.train.y.bincount().tolist() == [6000] * 10
    assert source.test.y.bincount().tolist() == [1000] * 10
    assert source.train.y[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    # the mean brightness that is widely used to normalise the set
    assert source.train.x.float().mean().item() / 255 == pytest.approx(0.2860, abs=1e-4)


def test_a_small_file_that_says_that_it_is_huge_is_refused(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(bytes((0, 0, 8, 3)) + struct.pack(">3i", 2**31 - 1, 2**15, 2**15) + b"0"))
    with pytest.raises(UserError, match=r"images\.gz would take .* TB of memory"):
        read_idx(path, 3)
