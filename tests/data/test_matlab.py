import numpy as np
import pytest
from scipy.io import savemat

from vaelab.data.matlab import read_mat
from vaelab.errors import UserError

X = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_arrays_keep_their_entries_and_types(tmp_path, dtype, packed):
    savemat(tmp_path / "a.mat", {"x": X.astype(dtype), "other": {"a": 1}}, do_compression=packed)
    found = read_mat(tmp_path / "a.mat", {"x": (3, None)})
    assert list(found) == ["x"]
    assert found["x"].dtype == dtype
    assert np.array_equal(found["x"], X)


@pytest.mark.parametrize(
    ("content", "layout", "message"),
    [
        ({"y": X, "z": X}, {"x": (3, 4)}, "a.mat has no array 'x'; it has: y, z"),
        ({"x": X}, {"x": (4, None)}, r"Array 'x' of .* is \(3, 4\) uint8; it must be \(4, N\) numbers"),
        ({"x": X}, {"x": (3, 4, None)}, r"it must be \(3, 4, N\) numbers"),
        ({"x": X[:, :0]}, {"x": (3, None)}, r"is \(3, 0\) uint8"),
        ({"x": {"a": X}}, {"x": (1, 1)}, r"is \(1, 1\) struct"),
        ({"x": np.array(["text"])}, {"x": (1,)}, r"Array 'x' of .* is \(1,\) char"),
        ({"x": X * 1j}, {"x": (3, 4)}, r"Array 'x' of .* is damaged"),
    ],
)
def test_anything_but_real_numbers_of_the_shape_is_refused(tmp_path, content, layout, message):
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(UserError, match=message):
        read_mat(tmp_path / "a.mat", layout)


def test_damaged_files_are_refused(tmp_path):
    file = tmp_path / "a.mat"
    savemat(file, {"x": np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8)}, do_compression=True)
    whole = file.read_bytes()
    hdf5 = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    for damaged in (b"", b"no matrix", hdf5, whole[:300], whole[:400] + bytes(50) + whole[450:]):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"a.mat is not a .mat file, or is damaged: .*Get it again"):
            read_mat(file, {"x": (30, 40)})


def test_a_small_file_that_says_that_it_is_huge_is_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"x": X})
    content = bytearray((tmp_path / "a.mat").read_bytes())
    shape = np.array(X.shape, "<i4").tobytes()
    where = content.index(shape)
    content[where : where + 8] = np.array([2**31 - 1, 2**20], "<i4").tobytes()
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.mat would take .* TB of memory"):
        read_mat(tmp_path / "a.mat", {"x": (None, None)})
