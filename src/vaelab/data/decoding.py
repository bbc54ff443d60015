"""From an image file to an array of bytes, whatever its format: size, channels, 8 bits, upright, opaque."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vaelab.errors import UserError, first_line

__all__ = ["Unfit", "decode", "formats", "quiet_pillow", "suffixes"]

# EPS is a program, which Pillow gives to Ghostscript; of the others Pillow knows the header alone.
NOT_READ = {"EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF"}
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
WHITE_16 = 65535


class Unfit(Exception):
    """A file that gives no image; the text is the reason, and ``kind`` what it has in common with others."""

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__(text)
        self.kind = kind


@cache
def formats() -> tuple[str, ...]:
    """The formats that are read, by Pillow's names."""
    Image.init()
    return tuple(sorted(set(Image.OPEN) - NOT_READ))


@cache
def suffixes() -> frozenset[str]:
    """The endings of the names of their files, such as ".png"."""
    return frozenset(end for end, name in Image.registered_extensions().items() if name in formats())


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Ignore Pillow's warnings about odd files, but for decompression bombs, which are errors.

    Warnings belong to the process: the threads that decode must live in the block.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(
    file: Path | BinaryIO, size: int | None, channels: int, background: str, name: str | None = None
) -> np.ndarray:
    """The image of a file, its first frame, as (C, H, W) uint8.

    In this order: the orientation of its EXIF data is applied; 16 bits become 8 (round(255 x / 65535));
    palettes, CMYK and other colour spaces become RGB; transparent pixels are laid over ``background``. Then
    the middle square is cut out and scaled to ``size`` (bicubic), and colours become luma
    (0.299 R + 0.587 G + 0.114 B) for one channel. JPEG files are read at the lowest resolution that has twice
    the size, which takes a fraction of the time.

    Args:
        size: height and width; None for the image's own.
        channels: 1 or 3.
        background: "white" or "black".
        name: of the image in messages; None for the file's.

    Raises:
        Unfit: the file is damaged, no image, smaller than ``size``, or has no 8 or 16 bits.
        UserError: it would unpack to more pixels than Pillow takes for safe, or may not be read.
    """
    name = str(file) if name is None else name
    try:
        with Image.open(file, formats=formats()) as image:
            if size is not None and min(image.size) < size:
                raise Unfit(f"smaller than data.size={size}", "{}x{}".format(*image.size))
            if size is not None:
                image.draft(None, (2 * size, 2 * size))
            upright = ImageOps.exif_transpose(image)
            flat = _opaque(_eight_bits(upright), background)
            if size is not None:
                flat = ImageOps.fit(flat, (size, size), Image.Resampling.BICUBIC)
            pixels = np.asarray(flat.convert("L" if channels == 1 else "RGB"))
    except BOMBS as error:
        raise UserError(
            f"{name} is refused: {first_line(error).rstrip('.')}. Remove it, or make it smaller."
        ) from None
    except (Unfit, MemoryError):
        raise
    except UnidentifiedImageError:
        raise Unfit("broken", "of no format that Pillow reads") from None
    except Exception as error:  # of a damaged file Pillow raises anything
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{name} can't be read: {error.strerror}.") from None
        raise Unfit("broken", first_line(error)) from None
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits in a channel. Pillow itself halves the bits of 16-bit colours."""
    if image.mode == "F":
        raise Unfit("of floating-point numbers", "no white is known; data=npz takes them")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values: Any = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > WHITE_16:
        raise Unfit("of 32-bit numbers", "no white is known; data=npz takes them")
    return Image.fromarray(((values * 255 + WHITE_16 // 2) // WHITE_16).astype(np.uint8))


def _opaque(image: Image.Image, background: str) -> Image.Image:
    """The image in mode L or RGB, without transparency."""
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, background), colours).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
