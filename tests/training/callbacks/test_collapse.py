"""The warning of a collapsed posterior."""

import torch

from builders import Recorder, data_module, lit, trainer, vae
from cli_runner import trained
from support.wandb_files import read_runs
from support.wandb_home import wandb_home
from vaelab.runs.health import COLLAPSED, verdict
from vaelab.training.callbacks import Collapse


def results(collapsed: bool) -> dict[str, torch.Tensor]:
    return {
        "rate": torch.tensor(0.1 if collapsed else 9.0),
        "active_units": torch.tensor(0.0 if collapsed else 3.0),
        "kl_per_dim": torch.full((3,), 3.0),
    }


class Scripted(Collapse):
    """Sees, validation by validation, what the script says."""

    def __init__(self, script: list[bool], **options) -> None:
        super().__init__(**options)
        self.script = list(script)

    def on_validation_end(self, trainer, lit) -> None:
        if trainer.state.fn == "fit":
            lit.results["val"] = results(self.script[trainer.current_epoch])
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
