"""Sprites with known factors of variation, drawn on demand.

The factors and their values are those of "dSprites: Disentanglement testing Sprites dataset" (Matthey et al.,
2017). The images need no download, but they are not the published ones, pixel for pixel.

===========  ======  ===========================================================
shape             3  square, ellipse, heart
scale             6  1/2 to 1
orientation      40  0 to 2 pi, both included: the first and the last are the same picture
x                32  0 (left) to 1 (right)
y                32  0 (top) to 1 (bottom)
===========  ======  ===========================================================

The index of an image counts through the factors in this order, the last one fastest.

Some factors give the same image: orientation 0 and 39, for every shape, and angles near a quarter turn
(square) or half a turn (ellipse) apart (in steps of 2 pi / 39 they are never exactly that, but some give the
same pixels). At size 64 there is nothing else: at equal orientation all shapes, scales and positions differ.
In smaller images a step is less than a pixel, and neighbours may coincide.
"""

import math

import torch
from torch import Tensor

from vaelab.data.images import ImageSet, Source
from vaelab.functional.randomness import generator

__all__ = ["FACTOR_NAMES", "FACTOR_SIZES", "SHAPES", "SpriteImages", "load_sprites", "render"]

FACTOR_NAMES = ("shape", "scale", "orientation", "x", "y")
FACTOR_SIZES = (3, 6, 40, 32, 32)
SHAPES = ("square", "ellipse", "heart")
TEST_SIZE = 10_000

# Every shape of scale 1 fits a disc of this radius (in image widths) around its centre of mass, and the
# centres stay this far from the border: no combination of factors leaves the frame. The value makes every
# step of position or scale move an edge of the upright square by more than a pixel at size 64.
RADIUS = 0.225


def load_sprites(size: int = 64) -> Source:
    """727,280 sprites to train on and 10,000 to test on, rendered when indexed, (N, 1, size, size) bool.

    The two are a fixed random split of all combinations. y: the shape; factors: (N, 5) int64 classes.

    Raises:
        ValueError: ``size`` is less than 8 pixels.
    """
    sprites = SpriteImages(size)
    order = torch.randperm(len(sprites), generator=generator(0, "data/sprites/test"))
    factors = sprites.factors(torch.arange(len(sprites)))
    everything = ImageSet(sprites, y=factors[:, 0], factors=factors)
    train, test = everything.subset(order[TEST_SIZE:]), everything.subset(order[:TEST_SIZE])
    return Source(train, test, FACTOR_NAMES, files=())


class SpriteImages:
    """All 737,280 sprites as a lazy image set: an index tensor (B,) gives images (B, 1, size, size), bool."""

    dtype = torch.bool

    def __init__(self, size: int = 64) -> None:
        if size < 8:
            raise ValueError(f"size must be >= 8 pixels, got {size}")
        self.size = size

    @property
    def factor_values(self) -> tuple[Tensor, ...]:
        """The value of every class of every factor, float64, in the order of FACTOR_NAMES."""
        return (
            torch.arange(3, dtype=torch.float64),
            torch.linspace(0.5, 1, 6, dtype=torch.float64),
            torch.linspace(0, 2 * math.pi, 40, dtype=torch.float64),
            torch.linspace(0, 1, 32, dtype=torch.float64),
            torch.linspace(0, 1, 32, dtype=torch.float64),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return (math.prod(FACTOR_SIZES), 1, self.size, self.size)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor) -> Tensor:
        classes = self.factors(index)
        values = [table[column] for table, column in zip(self.factor_values, classes.T, strict=True)]
        return render(classes[:, 0], *values[1:], size=self.size)

    def factors(self, index: Tensor) -> Tensor:
        """The ground truth of the images at ``index`` (B,): classes (B, 5), int64."""
        return torch.stack(torch.unravel_index(index, FACTOR_SIZES), dim=-1)

    def index(self, factors: Tensor) -> Tensor:
        """The images with the classes ``factors`` (B, 5): positions (B,); undoes :meth:`factors`."""
        strides = torch.tensor([math.prod(FACTOR_SIZES[i + 1 :]) for i in range(len(FACTOR_SIZES))])
        return (factors * strides).sum(-1)


def render(shape: Tensor, scale: Tensor, angle: Tensor, x: Tensor, y: Tensor, *, size: int) -> Tensor:
    """Draw sprites (B, 1, size, size), bool: a pixel is set if its centre lies in the shape.

    shape: (B,) int64, an index into SHAPES; scale: (B,), 1 is the largest that fits; angle: (B,) radians,
    anticlockwise; x, y: (B,) position of the centre of mass, 0 to 1 from the left and from the top.
    """
    columns, across = _window(x, scale, size)
    rows, down = _window(y, scale, size)
    # The turned offsets are sums of a row and a column: one full-sized operation each
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    u = (cos * across).float()[:, None, :] - (sin * down).float()[:, :, None]
    v = -(sin * across).float()[:, None, :] - (cos * down).float()[:, :, None]

    drawn = torch.empty(u.shape, dtype=torch.bool)
    for number, inside in enumerate((_in_square, _in_ellipse, _in_heart)):
        chosen = (shape == number).nonzero().squeeze(1)
        drawn[chosen] = inside(u[chosen], v[chosen])
    images = torch.zeros(len(shape), 1, size, size, dtype=torch.bool)
    images[torch.arange(len(shape))[:, None, None], 0, rows[:, :, None], columns[:, None, :]] = drawn
    return images


def _window(position: Tensor, scale: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The pixels that a sprite can touch along one axis: only they are computed.

    From positions and scales (B,): pixel numbers (B, K), int64, and the offsets of the pixels' centres from
    the sprite's, in units of its radius (B, K), float64.
    """
    width = math.ceil(2 * RADIUS * size) + 1
    centre = RADIUS + (1 - 2 * RADIUS) * position
    first = ((centre - RADIUS) * size).floor().clamp(0, size - width)
    pixels = first[:, None] + torch.arange(width)
    return pixels.long(), ((pixels + 0.5) / size - centre[:, None]) / (RADIUS * scale)[:, None]


# Inside-tests: (u, v) in units of the disc around the centre of mass, any shape -> bool, the same shape.


def _in_square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) <= math.sqrt(0.5)


def _in_ellipse(u: Tensor, v: Tensor) -> Tensor:
    """Half axes 1 and 1/2."""
    return u.square() + (2 * v).square() <= 1


def _in_heart(u: Tensor, v: Tensor) -> Tensor:
    """A square that stands on a corner, with a half disc on each of its upper sides.

    In the square's own axes (p, q), with half side 1: |p|, |q| <= 1, or within 1 of (0, 1) or of (1, 0). The
    centre of mass is at p = q = c: the square weighs 4 at 0; each half disc weighs pi/2, one with its centre
    of mass at p = 1 + 4/(3 pi), the other at p = 0. The tip (-1, -1) is the point farthest from there.
    """
    c = (math.pi / 2 + 2 / 3) / (4 + math.pi)
    reach = math.sqrt(2) * (1 + c)
    p = (v + u) * (reach * math.sqrt(0.5)) + c
    q = (v - u) * (reach * math.sqrt(0.5)) + c
    in_square = torch.maximum(p.abs(), q.abs()) <= 1
    p2, q2 = p.square(), q.square()
    # |(p, q) - (0, 1)|^2 <= 1 is p^2 + q^2 <= 2q, and the other disc's is <= 2p
    return in_square | (p2 + q2 <= 2 * torch.maximum(p, q))
