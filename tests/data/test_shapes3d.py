import math
import sys

import h5py
import numpy as np
import pytest
import torch

from support.checksums import md5
from vaelab.data import DataModule, shapes3d, split
from vaelab.data.shapes3d import FACTOR_NAMES, SHAPES3D, load_shapes3d
from vaelab.errors import UserError

SIZES = (3, 2, 4, 5, 4, 2)
# the published file's values of every factor, from which the test takes the first few
VALUES = (
    *(np.arange(10) / 10,) * 3,
    np.linspace(0.75, 1.25, 8),
    np.arange(4.0),
    np.linspace(-30, 30, 15),
)
COUNT = math.prod(SIZES)


def write(path, chunks=(320, 4, 4, 1), **changes) -> dict[str, np.ndarray]:
    """A file of the published layout, with fewer values of every factor and 8x6 pixels."""
    index = np.stack(np.unravel_index(np.arange(COUNT), SIZES), axis=1)
    labels = np.stack([values[column] for values, column in zip(VALUES, index.T, strict=True)], axis=1)
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 6, 3), dtype=np.uint8)
    arrays = {"images": images, "labels": labels, **changes}
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if array is not None:
                packed = {"chunks": chunks, "compression": "gzip"} if name == "images" and chunks else {}
                file.create_dataset(name, data=array, **packed)
    return {**arrays, "classes": index}


@pytest.fixture
def file(tmp_path):
    write(tmp_path / "mine.h5")
    return tmp_path / "mine.h5"


@pytest.mark.parametrize("block", [1, 100, 5000])
@pytest.mark.parametrize("chunks", [None, (1, 8, 6, 3), (320, 4, 4, 1), (960, 8, 6, 3)])
def test_the_images_are_those_of_the_file_channels_first(tmp_path, monkeypatch, chunks, block):
    monkeypatch.setattr(shapes3d, "BLOCK", block)
    arrays = write(tmp_path / "mine.h5", chunks)
    source = load_shapes3d(str(tmp_path / "data"), str(tmp_path / "mine.h5"))
    assert source.test is None
    assert source.train.x.shape == (COUNT, 3, 8, 6)
    assert source.train.x.dtype == torch.uint8
    index = torch.tensor([COUNT - 1, 0, 17, 17])
    assert np.array_equal(source.train.x[index].numpy(), arrays["images"][index].transpose(0, 3, 1, 2))
    everything = source.train.x[torch.arange(COUNT)]
    assert np.array_equal(everything.permute(0, 2, 3, 1).numpy(), arrays["images"])


def test_factors_are_the_ranks_of_the_values(tmp_path, file):
    source = load_shapes3d(str(tmp_path), str(file))
    expected = np.stack(np.unravel_index(np.arange(COUNT), SIZES), axis=1)
    assert source.train.factors.dtype == torch.int64
    assert np.array_equal(source.train.factors.numpy(), expected)
    assert np.array_equal(source.train.y.numpy(), expected[:, 4])
    assert source.factor_names == FACTOR_NAMES
    assert source.factor_names[4] == "shape"


def test_factors_reach_the_test_split_with_their_images(tmp_path, file):
    arrays = write(file)
    source = load_shapes3d(str(tmp_path), str(file))
    data = DataModule(split(source, val_size=50, train_size=100, test_size=200), batch_size=64, seed=0)
    assert data.factor_names == FACTOR_NAMES
    assert data.image_shape == (3, 8, 6)
    assert not isinstance(data.test.x, torch.Tensor)
    where = {image.tobytes(): row for row, image in enumerate(arrays["images"])}
    batches = list(data.test_dataloader())
    assert sum(len(batch.x) for batch in batches) == 200
    for batch in batches:
        rows = [where[image.tobytes()] for image in batch.x.permute(0, 2, 3, 1).contiguous().numpy()]
        assert np.array_equal(batch.factors.numpy(), arrays["classes"][rows])
        assert torch.equal(batch.y, batch.factors[:, 4])


def test_it_is_downloaded_once_and_checked(tmp_path, file, mirror, monkeypatch):
    content, root, (name,) = file.read_bytes(), tmp_path / "root", SHAPES3D.checksums
    mirror.files[name] = content
    here = SHAPES3D._replace(mirrors=(mirror.url,))
    monkeypatch.setattr(shapes3d, "SHAPES3D", here)
    with pytest.raises(UserError, match="wrong checksum"):
        load_shapes3d(str(root))
    monkeypatch.setattr(shapes3d, "SHAPES3D", here._replace(checksums={name: md5(content)}))
    for _ in range(2):
        assert len(load_shapes3d(str(root)).train) == COUNT
    assert mirror.asked == [name] * 2
    assert (root / "shapes3d" / name).read_bytes() == content


def test_without_h5py_it_is_said_how_to_get_it(tmp_path, file, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"needs h5py: pip install 'vaelab\[shapes3d\]'"):
        load_shapes3d(str(tmp_path), str(file))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "is not 3D Shapes' file: it has no labels"),
        ({"images": None, "labels": None}, "it has no images and no labels"),
        (
            {"images": np.zeros((COUNT, 8, 6), np.uint8)},
            rf"'images' of .* is \({COUNT}, 8, 6\) uint8; it must be",
        ),
        ({"images": np.zeros((COUNT, 8, 6, 3))}, r"float64; it must be \(N, H, W, C\) uint8"),
        (
            {"labels": np.zeros((COUNT - 1, 6))},
            rf"'labels' of .* it must be \({COUNT}, 6\) numbers: floor_hue, ",
        ),
        ({"labels": np.zeros((COUNT, 5))}, rf"'labels' of .* is \({COUNT}, 5\) float64"),
    ],
)
def test_another_layout_is_refused_by_name(tmp_path, changes, message):
    write(tmp_path / "mine.h5", None, **changes)
    with pytest.raises(UserError, match=message):
        load_shapes3d(str(tmp_path), str(tmp_path / "mine.h5"))


def test_a_damaged_file_is_refused(tmp_path, file):
    content = file.read_bytes()
    for damaged in (b"no hdf5", content[: len(content) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"mine.h5 is not an HDF5 file, or is damaged: .*Get it again"):
            load_shapes3d(str(tmp_path), str(file))
    with h5py.File(file, "w") as whole:
        images = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 6, 3), dtype=np.uint8)
        whole.create_dataset("labels", data=np.zeros((COUNT, 6)))
        chunked = whole.create_dataset("images", data=images, chunks=(320, 8, 6, 3), compression="gzip")
        where = chunked.id.get_chunk_info(1).byte_offset
    content = bytearray(file.read_bytes())
    content[where : where + 200] = bytes(200)  # a chunk that is no gzip stream
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"mine.h5 is not an HDF5 file, or is damaged"):
        load_shapes3d(str(tmp_path), str(file))
    assert not list(tmp_path.rglob("*.npy"))
