import time

import pytest
import pytorch_lightning as pl

from builders import data_module, lit, trainer
from vaelab.training.callbacks import Clock


class SlowValidation(pl.Callback):
    def on_validation_batch_start(self, *_):
        time.sleep(0.05)


class SlowTraining(pl.Callback):
    def on_train_batch_start(self, *_):
        time.sleep(0.01)


@pytest.mark.parametrize("interval", [1.0, 0.5])
def test_validation_is_no_training_time(tmp_path, interval):
    clock = Clock()
    made = trainer(tmp_path, callbacks=[SlowValidation(), SlowTraining(), clock], val_check_interval=interval)
    made.fit(lit(), datamodule=data_module(train=20, val=5, batch_size=4))
    validations = 2 / interval
    assert clock.images == 40
    assert 10 * 0.01 <= clock.train_seconds <= clock.fit_seconds - validations * 0.05


def test_the_report_is_images_per_second_of_training():
    clock = Clock()
    clock.images, clock.train_seconds, clock.fit_seconds = 300, 2.0, 3.21049
    assert clock.report() == {"fit_seconds": 3.21, "train_seconds": 2.0, "images_per_second": 150.0}
