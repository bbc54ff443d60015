"""Numbers of every test image: what a run writes is read, and anything else is left out with a line."""

import io
import zipfile

import numpy as np
import pytest
from sweeps_of_records import make_record, write_sweep

from vaelab.reports.per_image import PER_IMAGE, read_per_image
from vaelab.reports.records import read_runs

WRITTEN = {
    "rate": np.array([3.0, 1.0, 2.0], np.float32),
    "distortion": np.array([30.0, 10.0, 20.0], np.float32),
    "position": np.array([2, 0, 1]),
}


def packed(**arrays):
    """The bytes of such a file."""
    file = io.BytesIO()
    np.savez(file, **{**WRITTEN, **arrays})
    return file.getvalue()


def test_images_are_sorted_by_position(tmp_path):
    (tmp_path / PER_IMAGE).write_bytes(packed())
    images = read_per_image(tmp_path)
    assert [array.tolist() for array in images[:3]] == [[0, 1, 2], [1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]
    assert images.constant is None
    (tmp_path / PER_IMAGE).write_bytes(packed(constant_distortion=np.array([6, 4, 5], np.float32)))
    assert read_per_image(tmp_path).constant.tolist() == [4.0, 5.0, 6.0]


def large():
    """A file that unpacks to 1 GiB of zeros, a thousandth of that in size."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("rate.npy", "w") as member:
        for _ in range(2**6):
            member.write(bytes(2**24))
    return file.getvalue()


def without_distortion():
    file = io.BytesIO()
    np.savez(file, rate=WRITTEN["rate"], position=WRITTEN["position"])
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: b"", "can't be read"),
        (lambda: b"PK\x03\x04" + bytes(100), "can't be read"),
        (lambda: packed()[:-200], "can't be read"),
        (lambda: packed().replace(b"\x00\x00\x40\x40", b"\x00\x00\x40\x41"), "can't be read"),  # CRC
        (without_distortion, "can't be read"),
        (lambda: packed(rate=np.array([3, "x", None], object)), "allow_pickle"),
        (lambda: packed(rate=np.zeros(3)), "types or shapes"),
        (lambda: packed(rate=np.zeros((3, 1), np.float32)), "types or shapes"),
        (lambda: packed(rate=np.zeros(4, np.float32)), "length"),
        (lambda: packed(position=np.array([0, 1, 1])), "twice"),
        (lambda: packed(rate=np.array([1, np.nan, 1], np.float32)), "not finite"),
        (large, "more than"),
    ],
    ids=[
        *("empty", "torn", "cut", "flipped", "lacks", "pickle"),
        *("float64", "2-D", "lengths", "twice", "NaN", "bomb"),
    ],
)
def test_a_damaged_file_is_left_out_with_one_line(tmp_path, content, reason):
    write_sweep(tmp_path, make_record(1), make_record(2))
    (tmp_path / "00" / PER_IMAGE).write_bytes(content())
    (tmp_path / "01" / PER_IMAGE).write_bytes(packed())
    reading = read_runs([tmp_path])
    assert [run.images is None for run in reading.runs] == [True, False]
    assert [run.number("test/rate") for run in reading.runs] == [3.0, 3.0]
    (problem,) = reading.problems
    assert problem.startswith(f"{tmp_path / '00'}: {PER_IMAGE} is left out: ")
    assert reason in problem
    assert "\n" not in problem


def test_a_file_elsewhere_is_not_followed_and_an_old_run_has_none(tmp_path):
    write_sweep(tmp_path / "sweep", make_record(1), make_record(2))
    (tmp_path / "elsewhere.npz").write_bytes(packed())
    (tmp_path / "sweep" / "00" / PER_IMAGE).symlink_to(tmp_path / "elsewhere.npz")
    reading = read_runs([tmp_path / "sweep"])
    assert [run.images for run in reading.runs] == [None, None]
    assert [problem.rpartition(": ")[2] for problem in reading.problems] == ["it is no file of this folder"]
