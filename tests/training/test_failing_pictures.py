"""What fails after the training, a picture or a user's own callback, costs no numbers."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger

from cli_runner import small
from vaelab.figures import pictures


class FailsAtTheEnd(pl.Callback):
    def on_test_end(self, trainer, lit):
        raise RuntimeError("nothing to draw on")

    def on_validation_end(self, trainer, lit):
        if trainer.state.fn == "validate":
            raise RuntimeError("nothing to draw on")


def test_a_callback_that_fails_after_the_measurement_is_logged(tmp_path, monkeypatch):
    monkeypatch.setattr("vaelab.training.History", FailsAtTheEnd)
    result = small(tmp_path, "model=vae", "callbacks=none", "+callbacks.own._target_=vaelab.training.History")
    assert result.code == 0, result.err
    assert result.record["status"] == "finished"
    assert {"val/elbo", "test/elbo"} <= set(result.record["metrics"])
    assert result.out.count("RuntimeError: nothing to draw on") == 2
    assert "Traceback" not in result.out + result.err


@pytest.mark.parametrize("method", ["log_metrics", "save", "finalize"])
def test_a_logger_that_fails_is_named_once_and_the_record_is_complete(tmp_path, monkeypatch, method):
    calls = []

    def fail(*args, **options):
        calls.append(args)
        raise ConnectionError("the server is away")

    monkeypatch.setattr(CSVLogger, method, fail)
    result = small(tmp_path, "logger=csv", "trainer.log_every_n_steps=1", "callbacks=no_pictures")
    assert result.code == 0, result.err
    assert result.out.count("The logger CSVLogger failed and gets nothing more: ConnectionError: ") == 1
    assert "Traceback" not in result.out + result.err
    assert len(calls) == 1
    record = result.record
    assert (record["status"], record["error"]) == ("finished", None)
    assert record["verdict"] is not None
    assert {"train/loss", "val/elbo", "test/elbo"} <= set(record["metrics"])


@pytest.mark.parametrize("name", ["sample_grids", "codes_map"])
def test_a_picture_that_fails_is_named_and_the_others_are_drawn(tmp_path, monkeypatch, name):
    def fail(*args, **options):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(pictures, name, fail)
    result = small(tmp_path, "model=vae", "callbacks.samples.every_n_epochs=1")
    assert result.code == 0
    assert result.record["verdict"] is not None
    assert "could not be drawn: OutOfMemoryError: no memory" in result.out
    assert (result.folder / "latents/kl_per_dim.png").is_file()


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
@pytest.mark.parametrize("model", ["vq_vae", "sigma_vae"])
def test_every_picture_is_drawn_in_every_precision(tmp_path, model, precision):
    result = small(tmp_path, f"model={model}", f"trainer.precision={precision}", "model.latent_dim=2")
    assert result.code == 0, result.err
    assert "could not be drawn" not in result.out
    drawn = {file.stem for file in result.folder.glob("samples/*")}
    assert {"mixture", "prior", "reconstructions", "traversals", "arithmetic"} <= drawn
    assert (result.folder / "latents/map.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision",
    [
        "bf16-true",
        *(pytest.param(other, marks=pytest.mark.exhaustive) for other in ("64-true", "bf16-mixed")),
    ],
)
def test_every_picture_of_a_hierarchy_is_drawn_in_every_precision(tmp_path, precision):
    settings = ("model=hierarchical_vae", "model.groups=[1,2]", "callbacks=all_pictures")
    result = small(tmp_path, *settings, f"trainer.precision={precision}")
    assert result.code == 0, result.err
    assert "could not be drawn" not in result.out
    drawn = {f"{file.parent.name}/{file.stem}" for file in result.folder.glob("*/*.png")}
    samples = ("mixture", "prior", "reconstructions", "traversals", "layers", "interpolations", "arithmetic")
    assert {f"samples/{name}" for name in (*samples, "explorer")} <= drawn
    assert {"latents/map", "latents/kl_per_dim"} <= drawn
