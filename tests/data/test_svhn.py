"""data=svhn: .mat files of the published layout, made here with few images."""

import numpy as np
import pytest
import torch
from scipy.io import savemat

from support.checksums import md5
from vaelab.data import svhn
from vaelab.data.svhn import SVHN, load_svhn
from vaelab.errors import UserError

TRAIN, TEST = SVHN.checksums


def arrays(count: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(count)
    labels = 1 + np.arange(count, dtype=np.uint8)[:, None] % 10  # 1, ..., 10, where 10 is the digit 0
    return {"X": random.integers(0, 256, (32, 32, 3, count), dtype=np.uint8), "y": labels}


@pytest.fixture
def files(tmp_path) -> dict[str, dict[str, np.ndarray]]:
    made = {TRAIN: arrays(12), TEST: arrays(10)}
    (tmp_path / "SVHN").mkdir()
    for name, content in made.items():
        savemat(tmp_path / "SVHN" / name, content, do_compression=True)
    return made


def test_the_images_are_upright_colours_first(tmp_path, files):
    source = load_svhn(str(tmp_path), download=False)
    for images, name in ((source.train, TRAIN), (source.test, TEST)):
        expected = files[name]["X"]
        assert images.x.dtype == torch.uint8
        assert images.x.shape == (expected.shape[3], 3, 32, 32)
        for row, column, channel, number in ((0, 0, 0, 0), (31, 2, 1, 3), (4, 30, 2, 9)):
            assert images.x[number, channel, row, column] == expected[row, column, channel, number]
    assert source.train.y.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    assert source.train.y.dtype == torch.int64


def test_only_what_is_missing_is_downloaded_and_checked(tmp_path, files, mirror, monkeypatch):
    content = (tmp_path / "SVHN" / TEST).read_bytes()
    (tmp_path / "SVHN" / TEST).unlink()
    mirror.files[TEST] = content
    here = SVHN._replace(mirrors=(mirror.url,))
    monkeypatch.setattr(svhn, "SVHN", here)
    with pytest.raises(UserError, match="wrong checksum"):
        load_svhn(str(tmp_path))
    monkeypatch.setattr(svhn, "SVHN", here._replace(checksums={TRAIN: "", TEST: md5(content)}))
    for _ in range(2):
        assert len(load_svhn(str(tmp_path)).test) == 10
    assert mirror.asked == [TEST] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.ones((11, 1), np.uint8)}, r"Array 'y' of .* must have the label of each of its 12 images"),
        ({"y": np.zeros((12, 1), np.uint8)}, r"'y' of .* 1 to 10"),
        ({"X": np.zeros((32, 32, 3, 12))}, r"Array 'X' of .* is float64; it must be uint8"),
        (
            {"X": np.zeros((32, 32, 12), np.uint8)},
            r"'X' of .* is \(32, 32, 12\) uint8; it must be \(32, 32, 3, N",
        ),
    ],
)
def test_another_layout_is_refused_by_name(tmp_path, files, changes, message):
    savemat(tmp_path / "SVHN" / TRAIN, {**files[TRAIN], **changes})
    with pytest.raises(UserError, match=message):
        load_svhn(str(tmp_path), download=False)
