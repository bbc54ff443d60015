import pytest
import torch

from support.chance import SIGMAS
from vaelab.data.augment import Augmentation
from vaelab.data.images import ImageSet
from vaelab.data.loader import InMemoryLoader, Sequential, Shuffled


def numbered(size: int) -> ImageSet:
    """Images whose pixels and labels say which they are."""
    return ImageSet(torch.arange(size).float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2), torch.arange(size))


@pytest.mark.parametrize("size", [1, 5, 6, 7, 13])
@pytest.mark.parametrize("batch_size", [1, 3, 6, 100])
@pytest.mark.parametrize("make", [Sequential, lambda n: Shuffled(n, seed=0)])
def test_every_image_comes_once_and_the_last_batch_is_kept(size, batch_size, make):
    loader = InMemoryLoader(numbered(size), batch_size, make(size))
    batches = list(loader)
    assert len(batches) == len(loader)
    assert [len(b.x) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert 1 <= len(batches[-1].x) <= batch_size
    seen = torch.cat([b.position for b in batches])
    assert seen.sort().values.tolist() == list(range(size))
    for b in batches:
        assert torch.equal(b.x, numbered(size).x[b.position])
        assert torch.equal(b.y, b.position)


def test_the_training_order_is_a_function_of_seed_and_epoch():
    def order(seed: int, epoch: int) -> list[int]:
        sampler = Shuffled(100, seed)
        sampler.set_epoch(epoch)
        return torch.cat([b.y for b in InMemoryLoader(numbered(100), 7, sampler)]).tolist()

    first = order(0, 3)
    torch.manual_seed(5)
    assert order(0, 3) == first
    assert order(0, 4) != first
    assert order(1, 3) != first
    assert sorted(first) == list(range(100))


@pytest.mark.parametrize("size", [3, 10, 11, 12])
def test_evaluation_shards_partition_exactly(size):
    shards = [Sequential(size, rank, 4) for rank in range(4)]
    assert [len(s) for s in shards] == [len(s.indices()) for s in shards]
    assert torch.cat([s.indices() for s in shards]).sort().values.tolist() == list(range(size))


@pytest.mark.parametrize("size", [4, 10, 11, 12])
def test_training_shards_are_disjoint_and_equally_long(size):
    def shards(epoch: int) -> list[list[int]]:
        return [Shuffled(size, 0, rank, 4, epoch).indices().tolist() for rank in range(4)]

    seen = [i for shard in shards(0) for i in shard]
    assert {len(shard) for shard in shards(0)} == {size // 4} == {len(Shuffled(size, 0, 2, 4))}
    assert len(set(seen)) == len(seen) == size - size % 4
    # What is dropped is another image in another epoch: all are seen in the end
    assert {i for epoch in range(30) for shard in shards(epoch) for i in shard} == set(range(size))


def drawn(seed: int, epoch: int = 0, rank: int = 0) -> torch.Tensor:
    grey = ImageSet(torch.full((64, 1, 8, 8), 102, dtype=torch.uint8))
    sampler = Shuffled(64, seed, rank, 2, epoch)
    return torch.cat([b.x for b in InMemoryLoader(grey, 16, sampler, seed=seed, redraw=True)])


def test_dynamic_draws_are_a_function_of_seed_epoch_rank_and_batch():
    first = drawn(0)
    assert first.dtype == torch.bool
    assert torch.equal(first, drawn(0))
    others = [drawn(1), drawn(0, epoch=1), drawn(0, rank=1)]
    assert all(not torch.equal(first, other) for other in others)
    assert not torch.equal(first[:16], first[16:]), "another batch, another draw"


def test_the_mean_of_dynamic_draws_approaches_the_image():
    mean = torch.stack([drawn(0, epoch).float().mean() for epoch in range(50)]).mean()
    assert abs(mean.item() - 102 / 255) < SIGMAS * (0.24 / (50 * 32 * 64)) ** 0.5


def sided(size: int) -> ImageSet:
    """Images whose left half is 1 and whose right half is 0."""
    return ImageSet(torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(size, 3, 2, 4).clone())


def turned(loader: InMemoryLoader) -> list[bool]:
    """Which images came mirrored; every one is whole."""
    x = torch.cat([batch.x for batch in loader])
    mirrored = x[:, 0, 0, 0] == 0
    whole = sided(len(x)).x
    assert torch.equal(x, torch.where(mirrored[:, None, None, None], whole.flip(-1), whole))
    return mirrored.tolist()


def test_half_of_the_training_images_are_mirrored_anew_in_every_epoch():
    def epoch(number: int, seed: int = 0) -> list[bool]:
        sampler = Shuffled(2000, seed)
        sampler.set_epoch(number)
        return turned(InMemoryLoader(sided(2000), 64, sampler, seed=seed, augment=Augmentation(flip=True)))

    first = epoch(0)
    assert abs(sum(first) - 1000) < SIGMAS * 2000**0.5 / 2
    assert epoch(0) == first
    assert epoch(1) != first
    assert epoch(0, seed=1) != first
    assert not any(turned(InMemoryLoader(sided(50), 64, Sequential(50))))


def moved(x: torch.Tensor, height: int, width: int) -> list[tuple[int, int]]:
    """By how much images of their rows and columns, (B, 2, H, W), were moved; the edge is repeated."""
    places = []
    for image in x.long():
        down, right = (int(image[channel, height // 2, width // 2]) for channel in (0, 1))
        down, right = down - height // 2, right - width // 2
        rows, columns = torch.arange(height) + down, torch.arange(width) + right
        assert torch.equal(image[0], rows.clamp(0, height - 1)[:, None].expand(height, width))
        assert torch.equal(image[1], columns.clamp(0, width - 1).expand(height, width))
        places.append((down, right))
    return places


def test_every_place_of_a_padded_image_is_equally_likely_anew_in_every_epoch():
    height, width, count = 5, 7, 5000
    grid = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    images = ImageSet(grid.to(torch.uint8).expand(count, 2, height, width).clone())

    def epoch(number: int, seed: int = 0) -> list[tuple[int, int]]:
        sampler = Shuffled(count, seed)
        sampler.set_epoch(number)
        loader = InMemoryLoader(images, 512, sampler, seed=seed, augment=Augmentation(crop=2))
        return moved(torch.cat([batch.x for batch in loader]), height, width)

    first = epoch(0)
    assert set(first) == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
    bound = (SIGMAS + 1) * (count / 25) ** 0.5  # 25 places are compared
    assert max(abs(first.count(place) - count / 25) for place in set(first)) < bound
    assert epoch(0) == first
    assert epoch(1) != first
    assert epoch(0, seed=1) != first


@pytest.mark.parametrize("augment", [Augmentation(flip=True), Augmentation(crop=1), Augmentation(True, 1)])
def test_a_continued_epoch_changes_images_in_the_same_way(augment):
    def loader() -> InMemoryLoader:
        return InMemoryLoader(sided(100), 16, Shuffled(100, 0), augment=augment)

    whole = [batch.x for batch in loader()]
    begun, again = loader(), loader()
    passing = iter(begun)
    for _ in range(3):
        next(passing)
    again.load_state_dict(begun.state_dict())
    rest = [batch.x for batch in again]
    assert len(rest) == 4
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[3:], strict=True))


@pytest.mark.parametrize("options", [{}, {"redraw": True}, {"augment": Augmentation(flip=True, crop=1)}])
@pytest.mark.parametrize("at_once", [2, 4, 100])
def test_batches_at_once_are_those_one_by_one(options, at_once):
    def loader(at_once: int) -> InMemoryLoader:
        images = ImageSet(sided(100).x * torch.rand(100, 1, 1, 1, generator=torch.manual_seed(0)))
        return InMemoryLoader(images, 16, Shuffled(100, 0), at_once=at_once, **options)

    single = list(loader(1))
    together = list(loader(at_once))
    assert len(together) == len(loader(at_once)) == -(-7 // at_once)
    assert loader(at_once).batches == len(single) == 7
    parts = [part for batch in together for part in batch.split(16)]
    assert len(parts) == 7
    for part, batch in zip(parts, single, strict=True):
        assert torch.equal(part.x, batch.x)
        assert torch.equal(part.position, batch.position)
    begun, again = loader(at_once), loader(at_once)
    next(iter(begun))
    again.load_state_dict(begun.state_dict())
    assert all(torch.equal(a.x, b.x) for a, b in zip(again, together[1:], strict=True))
