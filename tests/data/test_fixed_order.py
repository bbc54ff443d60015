"""trainer.overfit_batches trains on the same images in every epoch."""

import math

import pytest
import pytorch_lightning as pl
import torch

from builders import data_module, lit, trainer
from vaelab.training.trainer import running


class Seen(pl.Callback):
    def __init__(self):
        self.images = []

    def on_train_batch_start(self, trainer, lit, batch, batch_idx):
        self.images.append((trainer.current_epoch, batch.x.clone()))


def images_by_epoch(folder, **options):
    seen = Seen()
    made = trainer(folder, max_epochs=3, callbacks=[seen], **options)
    with running(made):
        made.fit(lit(), datamodule=data_module(binarize="dynamic"))
    return [torch.cat([x for epoch, x in seen.images if epoch == number]) for number in range(3)]


def test_overfitting_has_the_same_images_in_every_epoch(tmp_path):
    first, *others = images_by_epoch(tmp_path, overfit_batches=2)
    assert len(first) == 8
    assert all(torch.equal(first, other) for other in others)


def test_a_limit_of_batches_has_other_images_in_every_epoch(tmp_path):
    first, *others = images_by_epoch(tmp_path, limit_train_batches=2)
    assert not any(torch.equal(first, other) for other in others)


def test_four_fixed_images_are_learned_by_heart(tmp_path):
    losses = {}
    for option in ("overfit_batches", "limit_train_batches"):
        made = trainer(tmp_path / option, max_epochs=60, limit_val_batches=0, **{option: 1})
        module = lit(lr=0.03)
        with running(made):
            made.fit(module, datamodule=data_module(binarize="dynamic"))
        losses[option] = module.training_metrics()["train/loss"]
    # nats of 16 random bits: log 4 tells the four images apart, nothing tells the bits of new ones
    assert losses["overfit_batches"] < 0.7 * losses["limit_train_batches"]
    assert losses["limit_train_batches"] == pytest.approx(16 * math.log(2), rel=0.15)
