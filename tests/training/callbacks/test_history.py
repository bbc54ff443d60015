"""The history that a run keeps of its training."""

from builders import data_module, lit, trainer
from vaelab.training.callbacks.history import History, read_rows, write_rows


def test_a_row_for_every_epoch_with_train_and_val(tmp_path):
    made = trainer(tmp_path, callbacks=[History()], max_epochs=3)
    made.fit(lit(), datamodule=data_module())
    rows = read_rows(tmp_path / "history.csv")
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    steps = [int(row["step"]) for row in rows]
    assert steps == [steps[0], 2 * steps[0], 3 * steps[0]]
    assert all(float(row["train/loss"]) > 0 and float(row["val/elbo"]) < 0 for row in rows)
    assert float(rows[-1]["train/loss"]) == made.callback_metrics["train/loss"].item()
    assert float(rows[-1]["val/elbo"]) == made.callback_metrics["val/elbo"].item()


def test_columns_that_come_late_are_blank_before(tmp_path):
    write_rows(tmp_path / "history.csv", [{"step": 1, "epoch": 0}, {"step": 2, "epoch": 1, "val/elbo": -3.5}])
    rows = read_rows(tmp_path / "history.csv")
    assert [row["val/elbo"] for row in rows] == ["", "-3.5"]
    assert [file.name for file in tmp_path.iterdir()] == ["history.csv"]


def test_a_resumed_run_replaces_the_epochs_that_it_trains_again(tmp_path):
    first = trainer(tmp_path, callbacks=[History()], max_epochs=2)
    first.fit(lit(), datamodule=data_module())
    first.save_checkpoint(tmp_path / "two.ckpt")
    kept = read_rows(tmp_path / "history.csv")
    write_rows(tmp_path / "history.csv", [*kept, {**kept[-1], "epoch": 2, "train/loss": 1e9}])
    again = trainer(tmp_path, callbacks=[History()], max_epochs=4)
    again.fit(lit(), datamodule=data_module(), ckpt_path=tmp_path / "two.ckpt")
    rows = read_rows(tmp_path / "history.csv")
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[:2] == kept
    assert float(rows[2]["train/loss"]) < 1e9


def test_an_epoch_without_validation_has_blanks(tmp_path):
    made = trainer(tmp_path, callbacks=[History()], max_epochs=5, check_val_every_n_epoch=2)
    made.fit(lit(), datamodule=data_module())
    rows = read_rows(tmp_path / "history.csv")
    assert [bool(row["val/elbo"]) for row in rows] == [False, True, False, True, False]
    assert all(row["train/loss"] for row in rows)
