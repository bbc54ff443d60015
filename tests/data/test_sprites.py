import math

import pytest
import torch

from vaelab.data.sprites import FACTOR_NAMES, FACTOR_SIZES, SpriteImages, load_sprites, render
from vaelab.functional.randomness import generator

SQUARE, ELLIPSE, HEART = range(3)


def draw(shape, scale=1.0, angle=0.0, x=0.5, y=0.5, size=64):
    """One image (size, size), or as many as the longest argument."""
    values = torch.broadcast_tensors(*(torch.as_tensor(v, dtype=torch.float64) for v in (scale, angle, x, y)))
    values = [value.reshape(-1) for value in values]
    shapes = torch.full((len(values[0]),), shape)
    return render(shapes, *values, size=size).squeeze(1).squeeze(0)


def centroid(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(x, y) of the mean pixel of (B, size, size), in image widths from the left and from the top."""
    size = images.shape[-1]
    pixels = (torch.arange(size) + 0.5) / size
    mass = images.float().sum((1, 2))
    return (images.float().sum(1) * pixels).sum(1) / mass, (images.float().sum(2) * pixels).sum(1) / mass


def test_the_index_counts_through_the_factors_last_fastest():
    sprites = SpriteImages()
    expected = torch.cartesian_prod(*(torch.arange(n) for n in FACTOR_SIZES))
    index = torch.arange(len(sprites))
    assert torch.equal(sprites.factors(index), expected)
    assert torch.equal(sprites.index(expected), index)


@pytest.mark.parametrize("size", [8, 32, 64])
def test_images_are_binary_of_any_size_and_repeatable(size):
    sprites = SpriteImages(size)
    index = torch.randint(len(sprites), (64,), generator=generator(0, "test"))
    images = sprites[index]
    assert images.shape == (64, 1, size, size)
    assert images.dtype == torch.bool == sprites.dtype
    assert images.flatten(1).any(1).all()
    assert torch.equal(images, SpriteImages(size)[index])
    one_by_one = torch.cat([sprites[i[None]] for i in index])
    assert torch.equal(images, one_by_one), "an image does not depend on its batch"
    assert sprites[index[:0]].shape == (0, 1, size, size)


def test_a_size_that_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="size must be >= 8 pixels, got 7"):
        SpriteImages(7)


# In discs of radius 1: a square of diagonal 2, half axes 1 and 1/2, and a square of side 2 with two half
# discs, shrunk by the distance of its tip from its centre of mass
AREAS = {
    SQUARE: 2.0,
    ELLIPSE: math.pi / 2,
    HEART: (4 + math.pi) / (2 * (1 + (math.pi / 2 + 2 / 3) / (4 + math.pi)) ** 2),
}


@pytest.mark.parametrize("shape", AREAS)
def test_the_area_grows_with_the_square_of_the_scale(shape):
    scales = SpriteImages().factor_values[1]
    areas = draw(shape, scales, angle=0.3, size=512).float().mean((1, 2)).double()
    expected = AREAS[shape] * (0.225 * scales) ** 2
    assert (areas / expected - 1).abs().max() < 0.005


@pytest.mark.parametrize("shape", AREAS)
@pytest.mark.parametrize("angle", [0.0, 1.0, 4.0])
def test_the_centre_of_mass_moves_linearly_with_the_position(shape, angle):
    positions = torch.linspace(0, 1, 32)
    expected = 0.225 + 0.55 * positions
    across, still = centroid(draw(shape, 0.7, angle, x=positions, y=0.25, size=128))
    assert (across - expected).abs().max() < 0.003  # a third of a pixel
    assert (still - (0.225 + 0.55 * 0.25)).abs().max() < 0.003
    still, down = centroid(draw(shape, 0.7, angle, x=0.25, y=positions, size=128))
    assert (down - expected).abs().max() < 0.003
    assert (still - (0.225 + 0.55 * 0.25)).abs().max() < 0.003


def test_rotation_turns_anticlockwise_by_the_angle():
    # The heart is centred and has no symmetry but its mirror axis: turned pictures equal turned arrays
    for quarter in range(4):
        turned = draw(HEART, angle=0.3 + quarter * math.pi / 2)
        assert (turned != draw(HEART, angle=0.3).rot90(quarter)).sum() <= 2
    upright = draw(HEART)
    assert torch.equal(upright, upright.flip(1))
    widths = upright.sum(1)
    rows = widths.nonzero()
    assert widths[rows[-1]] < 4 < widths[rows[0]], "the tip is at the bottom"
    across, down = draw(ELLIPSE).any(0).sum(), draw(ELLIPSE).any(1).sum()
    assert across > 1.8 * down, "the ellipse lies at orientation 0"


@pytest.mark.parametrize(("shape", "turn"), [(SQUARE, math.pi / 2), (ELLIPSE, math.pi), (HEART, 2 * math.pi)])
def test_symmetries_are_those_of_the_shape(shape, turn):
    angle = torch.tensor([0.2, 0.2 + turn, 0.2 + turn / 2], dtype=torch.float64)
    one, same, other = draw(shape, angle=angle)
    assert (one != same).sum() <= 2  # a pixel's centre may lie on the border itself
    assert (one != other).sum() > 50


@pytest.mark.parametrize("size", [32, 64])
def test_the_first_and_the_last_orientation_coincide(size):
    sprites = SpriteImages(size)
    index = torch.randint(len(sprites), (200,), generator=generator(0, "test"))
    first, last = sprites.factors(index), sprites.factors(index)
    first[:, 2], last[:, 2] = 0, 39
    assert torch.equal(sprites[sprites.index(first)], sprites[sprites.index(last)])


@pytest.mark.parametrize("shape", AREAS)
def test_no_sprite_leaves_the_frame(shape):
    """The largest sprite stays in its disc at every orientation, and is whole in every corner."""
    angles = SpriteImages().factor_values[2]
    pixels = (torch.arange(256) + 0.5) / 256 - 0.5
    distance = torch.hypot(pixels[:, None], pixels[None, :])
    reach = torch.where(draw(shape, 1.0, angles, size=256), distance, 0).amax((1, 2))
    assert reach.max() <= 0.225
    assert reach.min() > 0.225 - 0.01, "as large as the disc allows"
    for x, y in ((0, 0), (0, 1), (1, 0), (1, 1)):
        across, down = centroid(draw(shape, 1.0, angles, x, y, size=128))
        assert (across - (0.225 + 0.55 * x)).abs().max() < 0.003
        assert (down - (0.225 + 0.55 * y)).abs().max() < 0.003


def test_the_source_is_a_fixed_split_of_everything():
    source = load_sprites(16)
    assert (len(source.train), len(source.test)) == (727_280, 10_000)
    assert source.factor_names == FACTOR_NAMES
    sprites = SpriteImages(16)
    where = torch.cat([sprites.index(source.train.factors), sprites.index(source.test.factors)])
    assert torch.equal(where.sort().values, torch.arange(len(sprites)))
    some = torch.tensor([3, 700_000, 11])
    batch = source.train.batch(some)
    assert torch.equal(batch.x, sprites[sprites.index(batch.factors)])
    assert torch.equal(batch.y, batch.factors[:, 0])
    assert torch.equal(source.test.factors, load_sprites(32).test.factors)
    # A random part: every class of every factor is about equally frequent in the test set
    for column, size in zip(source.test.factors.T, FACTOR_SIZES, strict=True):
        shares = column.bincount(minlength=size) * size / len(column)
        assert ((shares - 1).abs() < 5 * (size / len(column)) ** 0.5).all()
