import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from vaelab.data.mapped import MappedImages, written_out
from vaelab.errors import UserError

ROWS = np.arange(60, dtype=np.uint8).reshape(10, 6)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source.bin").write_bytes(b"anything")
    return tmp_path / "source.bin"


def halves():
    yield ROWS[:7]
    yield ROWS[7:]


def test_blocks_become_one_array_in_a_file(tmp_path, source):
    file = written_out(source, tmp_path / "new", (10, 6), halves)
    assert file.name.startswith("source-")
    assert np.array_equal(np.load(file), ROWS)
    images = MappedImages(file, (1, 2, 3), torch.uint8)
    assert images.shape == (10, 1, 2, 3)
    assert torch.equal(images[torch.tensor([9, 0])], torch.from_numpy(ROWS[[9, 0]]).view(2, 1, 2, 3))


def test_packed_bits_are_images_of_zero_and_one(tmp_path, source):
    pixels = np.random.default_rng(0).integers(0, 2, (10, 13), dtype=np.uint8)
    file = written_out(source, tmp_path, (10, 2), lambda: iter([np.packbits(pixels, axis=1)]))
    images = MappedImages(file, (1, 1, 13), torch.bool)[torch.arange(10)]
    assert images.dtype == torch.bool
    assert np.array_equal(images.view(10, 13).numpy(), pixels == 1)


def test_a_copy_for_another_process_is_small(tmp_path, source):
    file = written_out(source, tmp_path, (1000, 600), lambda: iter([np.ones((1000, 600), np.uint8)]))
    images = MappedImages(file, (1, 20, 30), torch.uint8)
    copied = pickle.dumps(images)
    assert len(copied) < 1000
    assert pickle.loads(copied)[torch.tensor([5])].sum() == 600


def test_of_many_at_once_one_writes(tmp_path, source):
    begun = []

    def blocks():
        begun.append(1)
        yield from halves()

    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda _: written_out(source, tmp_path / "new", (10, 6), blocks), range(8)))
    assert len(set(files)) == len(begun) == 1
    assert np.array_equal(np.load(files[0]), ROWS)


def test_what_fails_or_was_killed_leaves_nothing(tmp_path, source):
    def fails():
        yield ROWS[:7]
        raise UserError("the rest is missing")

    folder = tmp_path / "new"
    folder.mkdir()
    (folder / ".tmp-1-source-of-a-killed-process.npy").write_bytes(b"half")
    with pytest.raises(UserError, match="the rest is missing"):
        written_out(source, folder, (10, 6), fails)
    assert [path.name for path in folder.iterdir()] == [".written_out.lock"]


def test_a_folder_that_cannot_be_written_is_named_with_what_it_takes(tmp_path, source):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        UserError, match=r"file/source-\w+\.npy \(5\.9 GB, the images of source.bin .* Set data\.root"
    ):
        written_out(source, tmp_path / "file", (480_000, 3, 64, 64), halves)


def test_a_full_disk_is_said(tmp_path, source):
    def full():
        yield ROWS[:7]
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot be written: No space left on device\. Set data\.root"):
        written_out(source, tmp_path / "new", (10, 6), full)
    assert not list(tmp_path.rglob("*.npy"))
