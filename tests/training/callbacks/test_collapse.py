"""The warning of a collapsed posterior."""

import torch

from builders import Recorder, data_module, lit, trainer, vae
from cli_runner import trained
from support.wandb_files import read_runs
from support.wandb_home import wandb_home
from vaelab.runs.health import COLLAPSED, verdict
from vaelab.training.callbacks import Collapse


def results(collapsed: bool, groups: list[float] | None = None) -> dict[str, torch.Tensor]:
    """Metrics of a posterior of three dimensions, or of one whose groups have so many active units."""
    units = sum(groups) if groups else 0.0 if collapsed else 3.0
    per_group = {"active_units_per_group": torch.tensor(groups)} if groups else {}
    return per_group | {
        "rate": torch.tensor(0.1 if collapsed else 9.0),
        "active_units": torch.tensor(units),
        "kl_per_dim": torch.full((3,), 3.0),
    }


class Scripted(Collapse):
    """Sees, validation by validation, what the script says."""

    def __init__(self, script: list[bool] | list[list[float]], **options) -> None:
        super().__init__(**options)
        self.script = list(script)

    def on_validation_end(self, trainer, lit) -> None:
        if trainer.state.fn == "fit":
            now = self.script[trainer.current_epoch]
            is_groups = isinstance(now, list)
            lit.results["val"] = results(not any(now), now) if is_groups else results(now)
        super().on_validation_end(trainer, lit)


def fitted(tmp_path, callback, epochs=8):
    made = trainer(tmp_path, max_epochs=epochs, callbacks=[callback], logger=Recorder())
    made.fit(lit(vae()), datamodule=data_module())
    return made


def test_it_has_to_hold_for_a_while(tmp_path, caplog):
    callback = Scripted([True, True, False, True, True, True, True, True], stop=True, patience=3)
    assert fitted(tmp_path, callback).current_epoch == 6  # collapsed in epochs 3, 4 and 5
    assert [r.message for r in caplog.records if "has collapsed" in r.message] == [
        "The posterior has collapsed for 3 validations in a row: "
        "no unit is active; the rate is 0.10 nats per image."
    ]


def test_without_stop_the_training_goes_on(tmp_path, caplog):
    assert fitted(tmp_path, Scripted([True] * 8, patience=2)).current_epoch == 8
    assert sum("has collapsed" in record.message for record in caplog.records) == 1  # once


def warnings_of(caplog) -> list[str]:
    return [record.message for record in caplog.records if "has collapsed" in record.message]


def test_a_group_that_collapses_is_named_and_ends_nothing(tmp_path, caplog):
    units = [[1.0, 0.0], [0.0, 0.0], [2.0, 0.0], *[[0.0, 2.0]] * 4, [1.0, 0.0]]
    assert fitted(tmp_path, Scripted(units, stop=True, patience=3)).current_epoch == 8
    assert warnings_of(caplog) == [
        f"Group {group} has collapsed for 3 validations in a row: it has no active unit." for group in (1, 0)
    ]


def test_where_all_groups_collapse_it_is_the_posterior(tmp_path, caplog):
    """Which ends the training; group 1, collapsed for longer, is not named beside it."""
    units = [[1.0, 0.0], *[[0.0, 0.0]] * 7]
    assert fitted(tmp_path, Scripted(units, stop=True, patience=3)).current_epoch == 4
    [warning] = warnings_of(caplog)
    assert warning.startswith("The posterior has collapsed for 3 validations in a row: no unit is active")


def test_a_continued_training_counts_on():
    callback, continued = Collapse(), Collapse()
    callback.in_a_row, callback.warned = {"The posterior": 2, "Group 1": 4}, ["Group 1"]
    continued.load_state_dict(callback.state_dict())
    assert (continued.in_a_row, continued.warned) == (callback.in_a_row, callback.warned)


def test_a_run_that_collapses_says_so_everywhere(tmp_path):
    """At a beta of 20 the training ends early, and record, words and W&B have the verdict."""
    with wandb_home(tmp_path / "home"):  # the offline files are whole once this block is left
        result = trained(
            tmp_path / "out",
            *("model=beta_vae", "model.beta=20", "trainer.max_epochs=20", "logger=wandb"),
            *("data.train_size=500", "data.batch_size=16", "optimizer.lr=0.01"),
            *("callbacks.collapse.stop=true", "callbacks.collapse.patience=2"),
        )
    record = result.record
    assert record["verdict"]["label"] == COLLAPSED
    assert record["stopped"]["by"] == "collapse"
    assert record["stopped"]["epoch"] < 20
    assert record["verdict"]["evidence"]["rate"] == record["metrics"]["test/rate"] < 0.5
    assert abs(record["verdict"]["evidence"]["shuffle_gap"]) < 0.5
    assert verdict(record["metrics"]).reason == record["verdict"]["reason"]
    assert f"Verdict: collapsed: {record['verdict']['reason']}" in result.out
    history = (result.folder / "history.csv").read_text().splitlines()
    assert len(history) - 1 < 20
    [run] = read_runs(result.outputs / "wandb")
    assert run.summary["verdict"] == COLLAPSED
    [alert] = run.alerts
    assert alert["title"] == "Posterior collapse"
    assert "for 2 validations in a row" in alert["text"]
