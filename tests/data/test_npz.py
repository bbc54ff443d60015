import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from vaelab.data.npz import load_npz
from vaelab.errors import UserError

RNG = np.random.default_rng(0)


@pytest.fixture
def save(tmp_path):
    """Write arrays to an .npz file and return its path."""

    def write(**arrays) -> str:
        path = tmp_path / "images.npz"
        np.savez(path, **arrays)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((6, 4, 5), (6, 1, 4, 5)), ((6, 3, 4, 5), (6, 3, 4, 5)), ((6, 7), (6, 1, 1, 7))],
)
def test_every_layout_keeps_its_pixels_in_order(save, shape, expected):
    x = RNG.normal(size=shape)
    source = load_npz(save(x=x))
    assert source.train.x.shape == expected
    assert torch.equal(source.train.x.flatten(), torch.tensor(x, dtype=torch.float32).flatten())
    assert source.test is None
    assert (source.train.y, source.train.factors, source.factor_names) == (None, None, ())


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        ("uint8", torch.uint8),
        ("bool", torch.bool),
        (">i4", torch.float32),
        ("float16", torch.float32),
        ("longdouble", torch.float32),
    ],
)
def test_every_number_type_keeps_its_values(save, dtype, stored):
    x = RNG.integers(0, 2 if dtype == "bool" else 100, size=(5, 3, 3)).astype(dtype)
    images = load_npz(save(x=x)).train.x
    assert images.dtype == stored
    assert np.array_equal(images.squeeze(1).numpy(), x)


def test_rows_and_the_test_set_come_with_the_images(save):
    factors = RNG.normal(size=(6, 2))
    source = load_npz(
        save(
            x=np.zeros((6, 2, 2)),
            y=np.arange(6, dtype=np.uint8),
            factors=factors,
            x_test=np.ones((3, 2, 2)),
            y_test=np.array([2, 1, 0]),
            factors_test=np.array([[1, 2], [3, 4], [5, 6]]),
        )
    )
    assert torch.equal(source.train.y, torch.arange(6))
    assert torch.equal(source.train.factors, torch.tensor(factors, dtype=torch.float32))
    assert source.factor_names == ("factor_0", "factor_1")
    assert source.test.y.tolist() == [2, 1, 0]
    assert source.test.factors.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert source.test.factors.dtype == torch.int64
    assert source.test.x.min() == 1


GOOD = np.zeros((4, 2, 2), dtype=np.float32)
BAD = GOOD.copy()
BAD[1, 0, 0], BAD[3, 1, 1] = np.nan, -np.inf


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": GOOD, "y": np.arange(4)}, "has no array 'x'; it has: images, y. Save"),
        ({}, "has no array 'x'; it has: nothing"),
        ({"x": np.zeros(4)}, r"'x' .* wrong number of dimensions: it is \(4,\)"),
        ({"x": np.zeros((0, 2, 2))}, r"'x' .* is empty: it is \(0, 2, 2\)"),
        ({"x": np.array([["a", "b"]])}, "'x' .* is <U1; it must hold real numbers"),
        ({"x": GOOD.astype(complex)}, "'x' .* is complex128; it must hold real numbers"),
        ({"x": np.array([[None, {}]])}, "'x' .* cannot be read as plain numbers: Object arrays"),
        ({"x": BAD}, "'x' .* has 2 values that are NaN or infinite"),
        ({"x": np.full((1, 2), 1e300)}, "'x' .* has 2 values that are NaN or infinite"),
        ({"x": GOOD, "x_test": BAD}, "'x_test' .* has 2 values that are NaN"),
        ({"x": GOOD, "factors": np.full((4, 1), np.nan)}, "'factors' .* has 4 values that are NaN"),
        ({"x": GOOD, "y": np.arange(3)}, r"'y' .* is \(3,\); with these images it must be \(4,\)"),
        ({"x": GOOD, "y": np.zeros((4, 1), int)}, r"'y' .* is \(4, 1\); .* must be \(4,\)"),
        ({"x": GOOD, "y": np.zeros(4)}, "'y' .* is float64; class labels must be whole numbers"),
        ({"x": GOOD, "factors": np.zeros(4)}, r"'factors' .* is \(4,\); .* must be \(4, F\)"),
        ({"x": GOOD, "factors": np.zeros((5, 2))}, r"'factors' .* is \(5, 2\); .* must be \(4, F\)"),
        (
            {"x": GOOD, "x_test": np.zeros((4, 3, 2))},
            r"must be alike, .*\(1, 2, 2\) torch.float32 and \(1, 3, 2\)",
        ),
        ({"x": GOOD, "x_test": GOOD, "y_test": np.arange(3)}, r"'y_test' .* is \(3,\)"),
        ({"x": GOOD, "y_test": np.arange(4)}, "has y_test, but no 'x_test'"),
    ],
)
def test_a_wrong_array_is_named(save, arrays, message):
    path = save(**arrays)
    with pytest.raises(UserError, match=message) as caught:
        load_npz(path)
    assert path in str(caught.value)


def test_a_path_that_is_not_set_or_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"data.path is not set: .*data.path=/path"):
        load_npz(None)
    with pytest.raises(UserError, match=r"data.path=.*nowhere.npz does not exist"):
        load_npz(str(tmp_path / "nowhere.npz"))
    with pytest.raises(UserError, match="is a directory"):
        load_npz(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"PK", b"hello world", b"\x93NUMPY\x01\x00"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "images.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"data.path={path} is not an .npz file, or is damaged; make it"):
        load_npz(str(path))


def test_a_file_cut_anywhere_is_refused(save, tmp_path):
    whole = Path(save(x=RNG.normal(size=(20, 4, 4)))).read_bytes()
    path = tmp_path / "cut.npz"
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"not an \.npz file"):
            load_npz(str(path))


@pytest.mark.parametrize("compressed", [True, False])
def test_a_damaged_byte_is_noticed(tmp_path, compressed):
    path = tmp_path / "images.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=RNG.normal(size=(20, 4, 4)))
    content = bytearray(path.read_bytes())
    content[1000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"'x' of .* cannot be read|images\.npz is damaged"):
        load_npz(str(path))


def test_an_archive_of_something_else_is_refused(tmp_path):
    path = tmp_path / "images.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", b"not an array")
    with pytest.raises(UserError, match=r"'x' of .* is no array"):
        load_npz(str(path))


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, trace: str) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (self.trace,)


@pytest.mark.parametrize("name", ["x", "y", "factors"])
def test_nothing_is_ever_unpickled(save, tmp_path, name):
    trace = tmp_path / "ran"
    path = save(**{"x": GOOD, name: np.array([[Bomb(str(trace))]] * 4, dtype=object)})
    with pytest.raises(UserError, match=f"'{name}' .* cannot be read"):
        load_npz(path)
    assert not trace.exists()
    np.load(path, allow_pickle=True)[name]
    assert trace.exists(), "the bomb itself works"


@pytest.mark.parametrize("shape", [(5, 12, 10, 3), (5, 8, 8, 1), (5, 6, 7, 4)])
def test_channels_last_is_recognised_and_said(save, caplog, shape):
    x = RNG.integers(0, 255, size=shape, dtype=np.uint8)
    with caplog.at_level("INFO", "vaelab.data.npz"):
        images = load_npz(save(x=x, x_test=x)).train.x
    assert images.shape == (shape[0], shape[3], *shape[1:3])
    assert np.array_equal(images.numpy(), x.transpose(0, 3, 1, 2))
    assert "is read as (N, H, W, C); data.layout=NCHW if it is not" in caplog.text


@pytest.mark.parametrize("shape", [(5, 3, 12, 10), (5, 1, 8, 8), (5, 3, 3, 3), (5, 28, 28, 5), (5, 1, 30, 3)])
def test_what_is_not_clearly_channels_last_is_channels_first(save, shape):
    assert load_npz(save(x=RNG.normal(size=shape))).train.x.shape == shape


def test_a_layout_may_be_given(save):
    x = RNG.normal(size=(5, 9, 9, 3))
    assert load_npz(save(x=x), layout="NCHW").train.x.shape == (5, 9, 9, 3)
    assert load_npz(save(x=x), layout="NHWC").train.x.shape == (5, 3, 9, 9)
    with pytest.raises(UserError, match=r"data\.layout=HWC: must be NCHW, NHWC, or null"):
        load_npz(save(x=x), layout="HWC")


def test_a_file_that_would_unpack_to_more_than_fits_is_refused_by_its_header(tmp_path):
    path = tmp_path / "bomb.npz"
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 28, 28)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(bytes(2**20))
    with pytest.raises(
        UserError, match=r"bomb\.npz would take 9\.41 TB of memory, more than half of the free"
    ):
        load_npz(str(path))


@pytest.mark.parametrize(("dtype", "size"), [("uint8", 640), ("float32", 2560), ("float64", 2 * 2560 + 2560)])
def test_the_limit_counts_the_array_and_its_copy_in_32_bits(save, dtype, size):
    path = save(x=np.zeros((10, 8, 8), dtype))
    load_npz(path, max_bytes=size)
    with pytest.raises(UserError, match=rf"more than data\.max_bytes .* set data\.max_bytes={size}\."):
        load_npz(path, max_bytes=size - 1)
