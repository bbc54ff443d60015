"""The images of the last job are kept for the next one, unless anything that makes them has changed."""

import gc
import os
import weakref

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from vaelab.data.images import ImageSet, Source
from vaelab.data.kept import forget, kept
from vaelab.data.splits import Splits, split
from vaelab.training.assembly import build_data


class Reader:
    """A source of two images with the first byte of a file; it counts how often it is read."""

    def __init__(self, file, named=True):
        self.file, self.named, self.times = file, named, 0

    def __call__(self) -> Source:
        self.times += 1
        x = torch.full((2, 1, 1, 1), self.file.read_bytes()[0], dtype=torch.uint8)
        return Source(ImageSet(x), files=(self.file,) if self.named else None)


def cut(source: Source) -> Splits:
    return split(source, val_size=0, train_size=None, test_size=1)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "images").write_bytes(b"\1")
    return tmp_path / "images"


def test_the_last_images_are_kept_while_their_file_is_as_it_was(file):
    read = Reader(file)
    first = kept("key", read, cut)
    assert kept("key", read, cut) is first
    assert read.times == 1


def other_size(file):
    file.write_bytes(b"\2\2")


def other_time(file):
    file.write_bytes(b"\2")
    os.utime(file, ns=(0, 1))


def other_file(file):
    status = file.stat()
    (file.parent / "new").write_bytes(b"\2")
    os.utime(file.parent / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(file.parent / "new", file)


@pytest.mark.parametrize("change", [other_size, other_time, other_file])
def test_a_changed_file_is_read_again(file, change):
    read = Reader(file)
    kept("key", read, cut)
    change(file)
    assert kept("key", read, cut).train.x.unique() == 2


def test_without_the_names_of_its_files_a_source_is_read_for_each_job(file):
    read = Reader(file, named=False)
    kept("key", read, cut)
    kept("key", read, cut)
    assert read.times == 2


def test_the_kept_images_are_let_go_before_others_are_read(file):
    old = weakref.ref(kept("one", Reader(file), cut))

    def read() -> Source:
        gc.collect()
        assert old() is None
        return Reader(file)()

    kept("other", read, cut)


def test_nothing_is_kept_of_a_source_that_cannot_be_cut(file):
    read = Reader(file)
    for _ in range(2):
        with pytest.raises(ValueError, match="val_size"):
            kept("key", read, lambda source: split(source, val_size=5, train_size=None))
    assert read.times == 2


@pytest.mark.parametrize(
    ("setting", "shared"),
    [({}, True), ({"batch_size": 5}, True), ({"val_size": 7}, False), ({"binarize": "threshold"}, False)],
)
def test_jobs_share_the_images_whose_settings_are_equal(tmp_path, setting, shared):
    np.savez(tmp_path / "images.npz", x=np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8))
    data = {
        "batch_size": 10,
        "val_size": 5,
        "train_size": None,
        "binarize": "none",
        "source": {"_target_": "vaelab.data.load_npz", "path": str(tmp_path / "images.npz")},
    }
    first, second = (
        build_data(OmegaConf.create({"seed": 0, "data": data | change})) for change in ({}, setting)
    )
    assert (first.splits is second.splits) is shared
    forget()
    alone = build_data(OmegaConf.create({"seed": 0, "data": data | setting}))
    assert alone.splits is not second.splits
    assert alone.splits.digest == second.splits.digest
    assert alone.batch_size == second.batch_size
