from dataclasses import replace

import torch

import vaelab.data.digest
import vaelab.functional.images
from vaelab.data.digest import data_digest
from vaelab.data.images import ImageSet, Selection


def images(seed: int = 0, count: int = 20) -> ImageSet:
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (count, 1, 4, 5), generator=random, dtype=torch.uint8)
    return ImageSet(x, y=torch.randint(0, 3, (count,), generator=random))


def test_the_digest_is_a_function_of_the_values_and_not_of_where_they_are():
    train, test = images(0), images(1)
    lazy = ImageSet(Selection(train.x, torch.arange(20)), train.y)
    assert (
        data_digest(train, None, test)
        == data_digest(images(0), None, images(1))
        == data_digest(lazy, None, test)
    )
    assert len(data_digest(train, None, test)) == 64


def test_every_difference_shows():
    train, val, test = images(0), images(1), images(2)
    pixel = train.x.clone()
    pixel[19, 0, 3, 4] ^= 1
    variants = [
        (train, val, test),
        (train, None, test),
        (val, train, test),
        (train, test, val),
        (replace(train, x=pixel), val, test),
        (replace(train, x=train.x.flip(0)), val, test),
        (replace(train, x=train.x.reshape(20, 1, 5, 4)), val, test),
        (replace(train, x=train.x.view(torch.int8)), val, test),
        (replace(train, y=None), val, test),
        (replace(train, y=train.y.flip(0)), val, test),
        (replace(train, factors=train.y[:, None]), val, test),
        (train.subset(torch.arange(19)), val, test),
    ]
    assert len({data_digest(*variant) for variant in variants}) == len(variants)


def test_of_a_large_set_images_at_even_distances_are_read(monkeypatch):
    monkeypatch.setattr(vaelab.data.digest, "MOST_BYTES", 200)  # half of the 20 images of 20 bytes
    train, other = images(), images()
    other.x[1] ^= 1
    assert data_digest(train, None, train) == data_digest(other, None, train)
    other.x[2] ^= 1
    assert data_digest(train, None, train) != data_digest(other, None, train)


def test_how_many_images_are_read_at_once_does_not_matter(monkeypatch):
    expected = data_digest(images(), None, images())
    monkeypatch.setattr(vaelab.functional.images, "MOST", 50)  # two images
    assert data_digest(images(), None, images()) == expected
