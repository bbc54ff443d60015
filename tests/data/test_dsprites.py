import io
import math
import zipfile

import numpy as np
import pytest
import torch

from support.checksums import md5
from vaelab.data import DataModule, dsprites, split
from vaelab.data.dsprites import DSPRITES, FILE_FACTORS, load_dsprites
from vaelab.data.mapped import MappedImages
from vaelab.data.sprites import FACTOR_NAMES, FACTOR_SIZES, SpriteImages
from vaelab.errors import UserError

(NAME,) = DSPRITES.checksums
SIZES = (1, 3, 2, 5, 4, 3)  # of the file's six factors


def file_arrays(sizes=SIZES, size=12) -> dict[str, np.ndarray]:
    """What the published file holds, with fewer values of every factor; its metadata is pickled there too."""
    classes = np.stack(np.unravel_index(np.arange(math.prod(sizes)), sizes), axis=1)
    images = np.random.default_rng(0).integers(0, 2, (len(classes), size, size), dtype=np.uint8)
    metadata = np.array({"latents_names": ("color", "shape", "scale", "orientation", "posX", "posY")})
    return {"metadata": metadata, "imgs": images, "latents_classes": classes, "latents_values": 0.1 * classes}


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return file_arrays()


@pytest.fixture
def file(tmp_path, arrays):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("size", [12, 5])  # 5x5 pixels do not fill their last byte
def test_the_images_are_those_of_the_file(tmp_path, monkeypatch, save, block, size):
    monkeypatch.setattr(dsprites, "BLOCK", block)
    arrays = file_arrays(size=size)
    save(tmp_path / "mine.npz", **arrays)
    source = load_dsprites(str(tmp_path / "data"), str(tmp_path / "mine.npz"))
    assert source.test is None
    assert source.train.x.shape == (360, 1, size, size)
    assert source.train.x.dtype == torch.bool
    index = torch.tensor([359, 0, 17, 17])
    assert np.array_equal(source.train.x[index][:, 0].numpy(), arrays["imgs"][index] == 1)
    assert source.train.x[index[:0]].shape == (0, 1, size, size)


def test_factors_are_the_classes_but_for_the_one_that_does_not_vary(tmp_path, file, arrays):
    source = load_dsprites(str(tmp_path), str(file))
    assert source.train.factors.dtype == torch.int64
    assert np.array_equal(source.train.factors.numpy(), arrays["latents_classes"][:, 1:])
    assert np.array_equal(source.train.y.numpy(), arrays["latents_classes"][:, 1])
    assert source.factor_names == ("shape", "scale", "orientation", "x", "y")


def test_the_drawn_sprites_have_the_factors_of_the_published_ones():
    """Names, order, sizes and values, as the file's metadata has them in the authors' notebook."""
    published = {"color": 1, "shape": 3, "scale": 6, "orientation": 40, "posX": 32, "posY": 32}
    assert list(FILE_FACTORS) == [name.replace("pos", "").lower() for name in published]
    assert (1, *FACTOR_SIZES) == tuple(published.values())
    classes = np.stack(np.unravel_index(np.arange(0, 737_280, 1009), tuple(published.values())), axis=1)
    drawn = SpriteImages()
    assert np.array_equal(drawn.factors(torch.arange(0, 737_280, 1009)).numpy(), classes[:, 1:])
    _, scale, orientation, x, y = drawn.factor_values
    assert scale.tolist() == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert orientation[[1, 20, 39]].tolist() == pytest.approx([0.16110732, 3.22214631, 6.28318531])
    assert x[[1, 30, 31]].tolist() == y[[1, 30, 31]].tolist() == pytest.approx([0.03225806, 0.96774194, 1])


def test_factors_reach_every_batch_of_the_splits_with_their_images(tmp_path, file, arrays):
    source = load_dsprites(str(tmp_path), str(file))
    data = DataModule(split(source, val_size=40, train_size=100, test_size=60), batch_size=32, seed=0)
    assert data.factor_names == FACTOR_NAMES
    where = {image.tobytes(): row for row, image in enumerate(arrays["imgs"])}
    assert len(where) == 360, "the images must be different for this test to see anything"
    for loader, size in (
        (data.train_dataloader(), 100),
        (data.val_dataloader(), 40),
        (data.test_dataloader(), 60),
    ):
        batches = list(loader)
        assert sum(len(batch.x) for batch in batches) == size
        for batch in batches:
            rows = [where[image.numpy().astype(np.uint8).tobytes()] for image in batch.x[:, 0]]
            assert np.array_equal(batch.factors.numpy(), arrays["latents_classes"][rows, 1:])
            assert torch.equal(batch.y, batch.factors[:, 0])


def test_a_small_run_reads_its_own_images_only(tmp_path, file, monkeypatch):
    read = []
    monkeypatch.setattr(
        MappedImages,
        "__getitem__",
        lambda self, index, get=MappedImages.__getitem__: read.append(len(index)) or get(self, index),
    )
    source = load_dsprites(str(tmp_path), str(file))
    data = DataModule(split(source, val_size=10, train_size=20, test_size=60), batch_size=8, seed=0)
    assert sum(read) == 30
    assert isinstance(data.train.x, torch.Tensor)
    assert not isinstance(data.test.x, torch.Tensor)
    list(data.test_dataloader())
    assert sum(read) == 90


def test_the_file_is_unpacked_once(tmp_path, file, monkeypatch):
    first = load_dsprites(str(tmp_path / "data"), str(file))
    monkeypatch.setattr(dsprites, "_packed", None)
    again = load_dsprites(str(tmp_path / "data"), str(file))
    assert again.train.x.file == first.train.x.file
    assert first.train.x.file.stat().st_size == 128 + 360 * 18, "a bit for each of 144 pixels"


def test_it_is_downloaded_once_and_checked(tmp_path, file, mirror, monkeypatch):
    content, root = file.read_bytes(), tmp_path / "root"
    mirror.files[NAME] = content
    here = DSPRITES._replace(mirrors=(mirror.url,))
    monkeypatch.setattr(dsprites, "DSPRITES", here)
    with pytest.raises(UserError, match=rf"wrong checksum(.|\n)*{DSPRITES.advice}"):
        load_dsprites(str(root))
    assert not [path for path in root.rglob("*") if path.is_file()]
    monkeypatch.setattr(dsprites, "DSPRITES", here._replace(checksums={NAME: md5(content)}))
    for _ in range(2):
        assert len(load_dsprites(str(root)).train) == 360
    assert mirror.asked == [NAME] * 2
    assert (root / "dsprites" / NAME).read_bytes() == content


@pytest.mark.parametrize("folder", ["dsprites", ""])
def test_a_file_that_is_there_is_found(tmp_path, file, folder):
    place = tmp_path / "root" / folder
    place.mkdir(parents=True)
    file.rename(place / NAME)
    assert len(load_dsprites(str(tmp_path / "root"), download=False).train) == 360


def test_without_a_file_it_is_said_what_to_do(tmp_path):
    with pytest.raises(UserError, match=rf"No {NAME} in {tmp_path}/dsprites or .*\nBy hand: .*data\.path="):
        load_dsprites(str(tmp_path), download=False)
    with pytest.raises(UserError, match=rf"data.path={tmp_path}/no.npz is not a file.*{DSPRITES.advice}"):
        load_dsprites(str(tmp_path), str(tmp_path / "no.npz"))


def without(arrays, name):
    return {key: value for key, value in arrays.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: without(a, "imgs"), "is not dSprites' file: .*imgs"),
        (lambda a: without(a, "latents_classes"), "is not dSprites' file: .*latents_classes"),
        (
            lambda a: {**a, "imgs": a["imgs"][:, None]},
            r"'imgs' of .* is \(360, 1, 12, 12\) uint8; it must be",
        ),
        (lambda a: {**a, "imgs": a["imgs"] * 1.0}, r"'imgs' of .* float64; it must be \(N, H, W\) uint8"),
        (lambda a: {**a, "imgs": a["imgs"] * 255}, r"'imgs' of .* is not binary: it has a value of 255"),
        (
            lambda a: {**a, "imgs": a["imgs"][1:]},
            r"is \(360, 6\) int64; with these images it must be \(359, 6\)",
        ),
        (
            lambda a: {**a, "latents_classes": a["latents_classes"][:, 1:]},
            r"must be \(360, 6\) .*: color, shape, ",
        ),
        (lambda a: {**a, "latents_classes": a["latents_values"]}, r"is \(360, 6\) float64; .*whole numbers"),
    ],
)
def test_another_layout_is_refused_by_name(tmp_path, arrays, change, message):
    np.savez(tmp_path / "mine.npz", **change(arrays))
    with pytest.raises(UserError, match=message):
        load_dsprites(str(tmp_path), str(tmp_path / "mine.npz"))
    assert not list(tmp_path.rglob("*.npy")), "nothing is kept of a file that is refused"


def test_a_damaged_file_is_refused(tmp_path, arrays):
    path = tmp_path / "mine.npz"
    for damage in ("no archive", "a flipped pixel", "a short array"):
        content = io.BytesIO()
        np.savez(content, **arrays)
        raw = bytearray(content.getvalue())
        if damage == "no archive":
            raw = raw[:1000]
        elif damage == "a flipped pixel":
            raw[raw.index(arrays["imgs"].tobytes()) + 5000] ^= 1
        path.write_bytes(raw)
        if damage == "a short array":
            with zipfile.ZipFile(content) as whole, zipfile.ZipFile(path, "w") as cut:
                for name in whole.namelist():
                    cut.writestr(name, whole.read(name)[: -100 if name == "imgs.npy" else None])
        with pytest.raises(
            UserError, match=r"mine.npz is not an .npz file, or is damaged: .+\. Get it again"
        ):
            load_dsprites(str(tmp_path), str(path))
        assert not list(tmp_path.rglob("*.npy"))
