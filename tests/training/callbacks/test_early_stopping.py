"""Early stopping: when it counts, when it ends a training, and what the record says."""

from typing import Any

import pytest
from torchmetrics import MetricCollection

from builders import data_module, elbo_terms, lit, trainer, vae
from cli_runner import small, trained
from vaelab.metrics import Objective
from vaelab.models.schedules import PiecewiseSchedule, RampSchedule
from vaelab.training.callbacks import EarlyStopping
from vaelab.training.module import LitAutoencoder

NOTHING_IS_BETTER = 1e6  # nats: as if no value after the first counted one was lower


def compared(weight: Any = 1.0, lr: float = 1e-3, **options: Any) -> LitAutoencoder:
    """A VAE whose KL has this weight, measured by what is compared alone."""
    made = lit(vae(terms=elbo_terms(weight)), lr=lr, **options)
    made.val_metrics = MetricCollection({"objective": Objective()})
    return made


def fitted(
    tmp_path, callback: EarlyStopping, weight=1.0, epochs: int = 9, lr: float = 1e-3, **options
) -> int:
    """Epochs that a run of 5 steps an epoch takes."""
    made = trainer(tmp_path, max_epochs=epochs, callbacks=[callback])
    made.fit(compared(weight, lr, **options), datamodule=data_module())
    return made.current_epoch


def test_it_ends_a_training_that_does_not_improve_and_lets_others_go_on(tmp_path):
    callback = EarlyStopping(patience=3)
    assert fitted(tmp_path, callback, lr=0.0) == 4
    assert (callback.stopped["by"], callback.stopped["epoch"], callback.stopped["step"]) == (
        "early_stopping",
        4,
        20,
    )
    assert callback.stopped["reason"].startswith(
        "val/objective was not lower in 3 validations than in epoch 1, "
    )
    improving = EarlyStopping(patience=1)
    assert fitted(tmp_path, improving, lr=1e-3) == 9
    assert improving.stopped is None


@pytest.mark.parametrize(
    ("end", "epochs"),
    [
        (1, 3),  # steps; the first counted validation is after epoch 1, and two more
        (5, 3),
        (6, 4),
        (12, 5),
        (25, 7),
    ],
)
def test_it_counts_from_the_validation_after_the_last_schedule(tmp_path, end, epochs):
    ramp = RampSchedule(1.0, end=end, unit="steps")
    assert fitted(tmp_path, EarlyStopping(2, NOTHING_IS_BETTER), ramp) == epochs


def test_it_waits_for_the_learning_rate_and_for_shares_of_the_training(tmp_path):
    factor = PiecewiseSchedule([0, 0.5], [1, 0.1])  # of 45 steps: the first validation after it is at step 25
    assert fitted(tmp_path, EarlyStopping(2, NOTHING_IS_BETTER), lr_factor=factor) == 7


def test_a_schedule_that_takes_the_whole_training_is_said_with_both_numbers(tmp_path, caplog):
    assert fitted(tmp_path, EarlyStopping(1, NOTHING_IS_BETTER), RampSchedule(1.0), epochs=4) == 4
    [message] = [r.message for r in caplog.records if "early_stopping" in r.message]
    assert message == (
        "callbacks.early_stopping can't stop this run: it waits for the schedule kl_weight, which ends at "
        "step 20; the training has 20 steps."
    )


def test_the_fewest_epochs_are_trained_all_the_same(tmp_path):
    callback = EarlyStopping(1, NOTHING_IS_BETTER)
    made = trainer(tmp_path, max_epochs=9, min_epochs=6, callbacks=[callback])
    made.fit(compared(), datamodule=data_module())
    assert made.current_epoch == callback.stopped["epoch"] == 6


def test_the_record_says_why_and_when(tmp_path):
    settings = ("callbacks=early_stopping", "callbacks.early_stopping.min_delta=1000", "trainer.max_epochs=8")
    pictures = ("callbacks.samples=null", "callbacks.latent_map=null", "callbacks.kl_pictures=null")
    result = trained(tmp_path, *settings, *pictures, "callbacks.early_stopping.patience=2")
    stopped = result.record["stopped"]
    assert (stopped["by"], stopped["epoch"], stopped["step"]) == ("early_stopping", 3, 3)
    assert "not lower by more than 1000 in 2 validations than in epoch 1" in stopped["reason"]
    assert "The training ended in epoch 3: val/objective was not lower" in result.out
    assert len((result.folder / "history.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("model", ["beta_tc_vae", "info_vae"])
def test_a_variant_without_a_value_to_compare_is_refused_by_name(tmp_path, model):
    result = small(tmp_path, f"model={model}", "callbacks=early_stopping")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "EarlyStopping compares val/objective, but no validation value of model.objective." in result.err
