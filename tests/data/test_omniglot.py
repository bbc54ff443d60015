"""data=omniglot: a .mat file of the published layout, made here with few images."""

import hashlib

import numpy as np
import pytest
import torch
from scipy.io import savemat

from vaelab.data import omniglot, split
from vaelab.data.omniglot import OMNIGLOT, load_omniglot
from vaelab.errors import UserError

(NAME,) = OMNIGLOT.checksums


def arrays(count: int, part: str = "") -> dict[str, np.ndarray]:
    """Images in MATLAB's order: pixel (row, column) is entry 28 column + row."""
    upright = np.random.default_rng(count).random((count, 28, 28))
    columns = np.stack([image.flatten(order="F") for image in upright], axis=1)
    return {f"{part}data": columns, f"{part}target": np.eye(50)[:, np.arange(count) % 50], part: upright}


def write(path, **changes) -> dict[str, np.ndarray]:
    made = {**arrays(60), **arrays(20, "test")}
    content = {name: array for name, array in made.items() if name not in ("", "test")}
    savemat(path, {**content, "targetchar": np.ones((1, 60)), **changes})
    return made


def test_the_images_stand_upright_with_their_alphabets(tmp_path):
    made = write(tmp_path / NAME)
    source = load_omniglot(str(tmp_path), download=False)
    for images, part in ((source.train, ""), (source.test, "test")):
        assert images.x.dtype == torch.float32
        assert images.x.shape == (len(made[part]), 1, 28, 28)
        assert np.array_equal(images.x[:, 0].numpy(), made[part].astype(np.float32))
        assert images.y.tolist() == [number % 50 for number in range(len(made[part]))]
    splits = split(source, val_size=10, train_size=None, binarize="dynamic")
    assert (splits.redraw, len(splits.train)) == (True, 50)


def test_it_is_downloaded_once_and_checked_by_its_blob(tmp_path, mirror, monkeypatch):
    write(tmp_path / "there.mat")
    content = (tmp_path / "there.mat").read_bytes()
    mirror.files[NAME] = content
    here = OMNIGLOT._replace(mirrors=(mirror.url,))
    monkeypatch.setattr(omniglot, "OMNIGLOT", here)
    root = tmp_path / "data"
    with pytest.raises(UserError, match=r"wrong checksum(.|\n)*github.com/yburda/iwae"):
        load_omniglot(str(root))
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    monkeypatch.setattr(omniglot, "OMNIGLOT", here._replace(checksums={NAME: f"git:{blob}"}))
    for _ in range(2):
        assert len(load_omniglot(str(root)).train) == 60
    assert mirror.asked == [NAME] * 2
    assert (root / "omniglot" / NAME).read_bytes() == content


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": np.eye(50)[:, :20]}, r"'target' of .* a single 1 for each of the 60 images"),
        ({"testtarget": np.ones((50, 20))}, r"'testtarget' of .* of the 20 images"),
        ({"testtarget": np.zeros((50, 20))}, r"'testtarget' of .* of the 20 images"),
        ({"data": np.full((784, 60), 255.0)}, r"'data' of .* must have values in \[0, 1\]"),
        ({"testdata": np.full((784, 20), np.nan)}, r"'testdata' of .* must have values in \[0, 1\]"),
        ({"data": np.zeros((60, 784))}, r"'data' of .* is \(60, 784\) double; it must be \(784, N\)"),
    ],
)
def test_another_layout_is_refused_by_name(tmp_path, changes, message):
    write(tmp_path / NAME, **changes)
    with pytest.raises(UserError, match=message):
        load_omniglot(str(tmp_path), str(tmp_path / NAME))
