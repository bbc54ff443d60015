"""Files of every kind, made here by Pillow, as images."""

import numpy as np
import pytest
from PIL import Image

from vaelab.data.decoding import Unfit, decode

RNG = np.random.default_rng(0)
RED, BLUE = (255, 0, 0), (0, 0, 255)


def pixels_of(image, tmp_path, name, size=None, channels=3, background="white", **options):
    image.save(tmp_path / name, **options)
    return decode(tmp_path / name, size, channels, background)


@pytest.mark.parametrize(
    "name", ["a.png", "a.bmp", "a.tiff", "a.webp", "a.ppm", "a.tga", "a.gif", "a.jp2", "a"]
)
def test_every_lossless_format_keeps_its_pixels(tmp_path, name):
    x = np.zeros((4, 6, 3), np.uint8)
    x[:, :, 0], x[1, 2] = 255, (0, 255, 0)
    kind = {"a": "png", "a.webp": "webp"}.get(name)
    options = {"lossless": True} if name == "a.webp" else {}
    found = pixels_of(Image.fromarray(x), tmp_path, name, format=kind, **options)
    assert found.dtype == np.uint8
    assert np.array_equal(found, x.transpose(2, 0, 1))


def test_modes_become_colours_or_luma(tmp_path):
    grey = Image.fromarray(np.array([[0, 100], [200, 255]], np.uint8))
    assert np.array_equal(pixels_of(grey, tmp_path, "l.png"), np.stack(3 * [np.asarray(grey)]))
    assert np.array_equal(pixels_of(grey, tmp_path, "l.png", channels=1)[0], np.asarray(grey))
    bits = Image.fromarray(np.array([[True, False]]))
    assert pixels_of(bits, tmp_path, "1.png", channels=1).tolist() == [[[255, 0]]]
    red = Image.new("RGB", (2, 2), RED)
    assert pixels_of(red, tmp_path, "r.png", channels=1).tolist() == [[[76, 76], [76, 76]]]  # 0.299 * 255
    assert pixels_of(red.quantize(4), tmp_path, "p.png")[:, 0, 0].tolist() == list(RED)
    ink = Image.new("CMYK", (2, 2), (0, 255, 255, 0))  # no cyan: red
    assert pixels_of(ink, tmp_path, "c.tiff")[:, 1, 1].tolist() == list(RED)
    assert abs(pixels_of(ink, tmp_path, "c.jpg")[:, 1, 1].astype(int) - RED).max() <= 3


@pytest.mark.parametrize(("background", "value"), [("white", 255), ("black", 0)])
def test_transparent_pixels_show_the_background(tmp_path, background, value):
    clear = Image.new("RGBA", (2, 1), (10, 20, 30, 0))
    clear.putpixel((1, 0), (10, 20, 30, 255))
    half = Image.new("LA", (1, 1), (100, 128))
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    over = {"background": background}
    expected = [3 * [value], [10, 20, 30]]
    assert pixels_of(clear, tmp_path, "a.png", **over)[:, 0].T.tolist() == expected
    grey = pixels_of(half, tmp_path, "b.png", **over)[:, 0, 0]
    assert grey == pytest.approx(3 * [(100 * 128 + value * 127) / 255], abs=1)
    found = pixels_of(palette, tmp_path, "c.png", transparency=0, **over)[:, 0].T.tolist()
    assert found == [3 * [value], [40, 50, 60]]


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff", "deep.pgm"])
def test_sixteen_bits_become_eight_by_rounding(tmp_path, name):
    values = np.array([[0, 128, 129], [32767, 65407, 65535]], np.uint16)  # 257 of them are one grey level
    found = pixels_of(Image.fromarray(values), tmp_path, name, channels=1)
    assert found.tolist() == [[[0, 0, 1], [127, 255, 255]]]
    assert np.array_equal(found[0], np.round(values / 257).astype(np.uint8))


def test_numbers_without_a_white_are_named(tmp_path):
    for name, x, kind in (
        ("f.tiff", np.full((2, 2), 0.5, np.float32), "floating-point"),
        ("i.tiff", np.full((2, 2), 70000, np.int32), "32-bit"),
    ):
        Image.fromarray(x).save(tmp_path / name)
        with pytest.raises(Unfit) as caught:
            decode(tmp_path / name, None, 3, "white")
        assert kind in caught.value.kind


def test_a_photo_stands_as_its_camera_says(tmp_path):
    upright = Image.new("RGB", (8, 16), BLUE)
    upright.paste(RED, (0, 0, 8, 8))  # red above
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to look at it
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    found = pixels_of(lying, tmp_path, "a.png", exif=exif)
    assert np.array_equal(found, np.asarray(upright).transpose(2, 0, 1))


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    for name in ("a.gif", "a.png", "a.tiff"):
        found = pixels_of(frames[0], tmp_path, name, save_all=True, append_images=frames[1:])
        assert found[:, 2, 2].tolist() == list(RED), name


@pytest.mark.parametrize(("width", "height"), [(64, 32), (32, 64), (32, 32), (640, 333)])
def test_the_middle_square_is_scaled(tmp_path, width, height):
    image = Image.new("RGB", (width, height), BLUE)
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    image.paste(RED, (left, top, left + edge, top + edge))  # blue lies outside of the square
    found = pixels_of(image, tmp_path, "a.png", size=16)
    assert found.shape == (3, 16, 16)
    assert np.array_equal(found[:, 2:-2, 2:-2], np.stack([np.full((12, 12), c, np.uint8) for c in RED]))


def test_a_photo_read_at_a_lower_resolution_is_the_same_picture(tmp_path):
    ramp = np.linspace(0, 255, 512).astype(np.uint8)
    across, down = np.broadcast_to(ramp, (512, 512)), np.broadcast_to(ramp[:, None], (512, 512))
    x = np.stack([across, down, across // 2 + down // 2], -1)
    small, whole = (pixels_of(Image.fromarray(x), tmp_path, name, size=16) for name in ("a.jpg", "a.png"))
    assert np.abs(small.astype(int) - whole).max() <= 3


def test_a_file_cut_anywhere_never_ends_in_a_traceback(tmp_path):
    for name in ("a.png", "a.jpg", "a.gif", "a.tiff", "a.webp", "a.bmp", "a.ico"):
        Image.fromarray(RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        outcomes = set()
        for length in range(0, len(whole), max(1, len(whole) // 12)):
            (tmp_path / name).write_bytes(whole[:length])
            try:
                outcomes.add(decode(tmp_path / name, 8, 3, "white").shape)
            except Unfit as unfit:
                outcomes.add(unfit.kind)
        assert "broken" in outcomes
        assert outcomes <= {"broken", (3, 8, 8)}
