import pytest
import pytorch_lightning as pl
import torch

from vaelab.data import DataModule, ImageSet, Source, load_sprites, random_subset, split, splits
from vaelab.data.augment import Augmentation
from vaelab.data.images import Selection
from vaelab.errors import UserError


def grey_source(size: int = 100, test: int | None = 20) -> Source:
    def images(start: int, count: int) -> ImageSet:
        x = torch.full((count, 1, 4, 4), 128, dtype=torch.uint8)
        return ImageSet(x, torch.arange(start, start + count))

    return Source(images(0, size), None if test is None else images(1000, test))


def module(
    source: Source | None = None, *, batch_size=16, seed=0, eval_batch_size=None, **options
) -> DataModule:
    images = split(source or grey_source(), **{"val_size": 30, "train_size": None, **options})
    return DataModule(images, batch_size=batch_size, seed=seed, eval_batch_size=eval_batch_size)


def labels(images: ImageSet) -> list[int]:
    return images.y.tolist()


def test_the_splits_are_disjoint_and_complete():
    data = module()
    assert (len(data.train), len(data.val), len(data.test)) == (70, 30, 20)
    assert sorted(labels(data.train) + labels(data.val)) == list(range(100))
    assert sorted(labels(data.test)) == list(range(1000, 1020))
    assert labels(data.test) != list(range(1000, 1020)), "a file may be sorted"
    assert data.test.x[:, 0, 0, 0].tolist() == module().test.x[:, 0, 0, 0].tolist()
    assert data.image_shape == (1, 4, 4)
    assert data.held_out is data.val


def test_the_splits_are_those_of_every_run():
    data = module()
    other = module(seed=7, binarize="static", batch_size=3)
    assert labels(data.val) == labels(other.val)
    assert labels(data.train) == labels(other.train)
    smaller = module(train_size=10)
    assert labels(smaller.train) == labels(data.train)[:10]
    assert labels(smaller.val) == labels(data.val)
    assert labels(data.val) != sorted(labels(data.val)), "a random subset, not the first images"


@pytest.mark.parametrize(("size", "test_size", "expected"), [(100, None, 10), (5, None, 1), (100, 25, 25)])
def test_a_source_without_test_images_gives_some_of_its_own(size, test_size, expected):
    data = module(grey_source(size, test=None), val_size=2, test_size=test_size)
    assert len(data.test) == expected
    assert sorted(labels(data.train) + labels(data.val) + labels(data.test)) == list(range(size))


def test_without_validation_everything_else_trains():
    data = module(val_size=0)
    assert not data.has_validation
    assert data.val is None
    assert data.val_dataloader() == []
    assert len(data.train) == 100
    assert data.held_out is data.test


@pytest.mark.parametrize(
    ("test", "options", "message"),
    [
        (20, {"batch_size": 0}, "batch sizes must be >= 1"),
        (20, {"val_size": -1}, "val_size must be >= 0, got -1"),
        (20, {"val_size": 100}, "val_size=100 leaves no image .* 100. At most 99"),
        (20, {"train_size": 0}, "train_size must be >= 1"),
        (20, {"train_size": 71}, "train_size=71 is larger than the 70 images left of 100 .*val_size=30"),
        (20, {"test_size": 5}, "test_size=5, but this data has its own 20 test images"),
        (20, {"binarize": "statc"}, "binarize must be one of none, threshold, static, dynamic"),
        (None, {"test_size": 0}, "test_size must be >= 1"),
        (None, {"test_size": 100}, "test_size=100 leaves no image to train on: the set has 100"),
        (None, {"val_size": 90}, "val_size=90 leaves no image .*: without test images the set has 90"),
    ],
)
def test_a_wrong_size_is_named_with_the_numbers(test, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        module(grey_source(test=test), **options)


def test_data_that_is_not_finite_is_refused():
    bad = Source(ImageSet(torch.full((5, 1, 2, 2), torch.nan)), ImageSet(torch.zeros(5, 1, 2, 2)))
    with pytest.raises(UserError, match="the train images of the data has 20 values"):
        module(bad, val_size=1)


def test_images_are_scaled_after_the_transfer_only():
    data = module()
    batch = next(iter(data.train_dataloader()))
    assert batch.x.dtype == torch.uint8
    scaled = data.on_after_batch_transfer(batch, 0)
    assert scaled.x.dtype == torch.float32
    assert scaled.x.unique().tolist() == [pytest.approx(128 / 255)]
    assert torch.equal(scaled.y, batch.y)
    assert data.value_range == (pytest.approx(128 / 255), pytest.approx(128 / 255))


def epoch_of(data: DataModule, epoch: int) -> torch.Tensor:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return torch.cat([b.x for b in loader])


def test_dynamic_binarisation_redraws_training_images_only():
    data = module(binarize="dynamic")
    assert epoch_of(data, 0).dtype == torch.bool
    assert torch.equal(epoch_of(data, 0), epoch_of(data, 0))
    assert not torch.equal(epoch_of(data, 0), epoch_of(data, 1))
    assert data.value_range == (0.0, 1.0)
    other = module(binarize="dynamic", seed=1)
    assert not torch.equal(epoch_of(data, 0), epoch_of(other, 0))
    assert torch.equal(data.val.x, other.val.x)
    assert torch.equal(data.test.x, other.test.x)
    assert len(data.val.x.flatten(1).unique(dim=0)) == 30, "each image has its own draw"


def test_static_binarisation_is_one_data_set_for_all_runs():
    data, other = module(binarize="static"), module(binarize="static", seed=1, train_size=50)
    assert data.train.x.dtype == torch.bool
    assert torch.equal(data.train.x[:50], other.train.x)
    more = module(binarize="static", val_size=10)
    by_label = dict(zip(labels(data.train), data.train.x, strict=True))
    common = [i for i, label in enumerate(labels(more.train)) if label in by_label]
    assert len(common) == 70
    assert all(torch.equal(more.train.x[i], by_label[labels(more.train)[i]]) for i in common)


def test_an_unseeded_module_draws_a_seed():
    before = torch.get_rng_state()
    assert module(seed=None).seed != module(seed=None).seed
    assert torch.equal(torch.get_rng_state(), before), "the global generator is not ours"


def test_evaluation_batches_are_larger_by_default():
    assert module().eval_batch_size == 256
    assert module(batch_size=1000).eval_batch_size == 1000
    sizes = [len(b.x) for b in module(eval_batch_size=8).test_dataloader()]
    assert sizes == [8, 8, 4]


def test_small_sets_of_sprites_are_drawn_into_memory_and_large_ones_stay_lazy(monkeypatch):
    monkeypatch.setattr(splits, "MATERIALISE_LIMIT", 50 * 16 * 16)
    source = load_sprites(16)
    data = module(source, val_size=40, train_size=50, binarize="dynamic")
    large = module(source, val_size=40, train_size=51, binarize="dynamic")
    assert isinstance(data.train.x, torch.Tensor)
    assert isinstance(data.val.x, torch.Tensor)
    assert isinstance(large.train.x, Selection)
    assert data.value_range == large.value_range == (0.0, 1.0)
    assert torch.equal(large.train.x[torch.arange(50)], data.train.x)
    assert torch.equal(epoch_of(data, 0), epoch_of(data, 0))
    assert data.factor_names == ("shape", "scale", "orientation", "x", "y")


def flat(batches: list[list[int]]) -> list[int]:
    return [label for batch in batches for label in batch]


class Probe(pl.LightningModule):
    """Records what Lightning hands it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list] = {"train": [], "val": [], "test": []}

    def training_step(self, batch, batch_idx):
        assert batch.x.dtype == torch.float32
        self.seen["train"].append(batch.y.tolist())
        return self.weight * batch.x.sum()

    def validation_step(self, batch, batch_idx):
        self.seen["val"].append(batch.y.tolist())

    def test_step(self, batch, batch_idx):
        assert batch.x.dtype == torch.float32
        self.seen["test"].append(batch.y.tolist())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # Lightning's own
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")  # no validation: meant
@pytest.mark.parametrize("val_size", [0, 30])
def test_lightning_takes_it_and_sets_the_epoch(tmp_path, val_size):
    data, probe = module(val_size=val_size, train_size=40), Probe()
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    trainer.fit(probe, datamodule=data)
    trainer.test(probe, datamodule=data, verbose=False)
    first, second = flat(probe.seen["train"][:3]), flat(probe.seen["train"][3:])
    assert [len(batch) for batch in probe.seen["train"]] == [16, 16, 8] * 2
    assert sorted(first) == sorted(second) == sorted(labels(data.train))
    assert first != second
    loader = module(val_size=val_size, train_size=40).train_dataloader()
    loader.sampler.set_epoch(1)
    assert second == [label for batch in loader for label in batch.y.tolist()]
    assert probe.seen["val"] == ([labels(data.val)] * 2 if val_size else [])
    assert flat(probe.seen["test"]) == labels(data.test)


def test_the_sample_of_training_images_is_fixed_and_what_the_model_sees():
    data = module()
    batches = list(data.training_sample(30, batch_size=20))
    assert [len(batch.x) for batch in batches] == [20, 10]
    positions = torch.cat([batch.position for batch in batches])
    assert torch.equal(positions, random_subset(70, 30))
    for batch in batches:
        assert torch.equal(batch.y, data.train.y[batch.position])
        assert torch.equal(batch.x, torch.full((len(batch.y), 1, 4, 4), 128 / 255))
    assert sum(len(batch.x) for batch in data.training_sample(1000)) == 70
    drawn = [next(module(binarize="dynamic", seed=seed).training_sample(70)).x for seed in (0, 1)]
    assert torch.equal(*drawn)  # one draw for every run
    assert set(drawn[0].unique().tolist()) == {0.0, 1.0}
    assert len({tuple(image.flatten().tolist()) for image in drawn[0]}) > 60


def test_a_table_has_no_left_and_right():
    splits_of_rows = split(Source(ImageSet(torch.rand(20, 1, 1, 5))), val_size=4, train_size=None)
    with pytest.raises(ValueError, match=r"augment.flip=true is for images, but the data are the rows"):
        DataModule(splits_of_rows, batch_size=4, seed=0, augmentation=Augmentation(flip=True))


@pytest.mark.parametrize("crop", [-1, 4, 5])
def test_images_are_moved_by_less_than_their_size(crop):
    splits = split(Source(ImageSet(torch.rand(20, 1, 6, 4))), val_size=4, train_size=None)
    with pytest.raises(ValueError, match=rf"augment.crop={crop} must be 0 to 3 pixels, for images of 6x4"):
        DataModule(splits, batch_size=4, seed=0, augmentation=Augmentation(crop=crop))


@pytest.mark.parametrize("augmentation", [Augmentation(flip=True), Augmentation(crop=3)])
def test_held_out_images_are_never_changed(augmentation):
    x = torch.arange(4.0).expand(60, 1, 4, 4).clone()
    data = DataModule(
        split(Source(ImageSet(x)), val_size=20, train_size=None),
        batch_size=8,
        seed=0,
        augmentation=augmentation,
    )
    for loader in (data.val_dataloader(), data.test_dataloader()):
        assert all((batch.x[:, 0, 0, 0] == 0).all() for batch in loader)
    assert {0.0, 3.0} <= set(torch.cat([batch.x for batch in data.train_dataloader()])[:, 0, 0, 0].tolist())
