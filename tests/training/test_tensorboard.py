"""What a run logs to TensorBoard, read back from its event files."""

import sys

import pytest

from cli_runner import small, trained


def test_numbers_and_pictures_are_in_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    result = trained(
        tmp_path, "logger=tensorboard", "trainer.max_epochs=2", "callbacks.samples.mixture_images=0"
    )
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(result.folder / "tensorboard"))
    events.Reload()
    metrics = result.record["metrics"]
    for name in ("train/loss", "test/elbo", "test/rate", "test/active_units"):
        assert events.Scalars(name)[-1].value == pytest.approx(metrics[name], rel=1e-6), name
    assert len(events.Scalars("val/elbo")) == 2
    drawn = {f"{file.parent.name}/{file.stem}" for file in result.folder.glob("*/*.png")}
    assert drawn
    assert set(events.Tags()["images"]) == drawn
    assert "model.latent_dim: 10" in (result.folder / "tensorboard" / "hparams.yaml").read_text()


def test_without_tensorboard_the_command_says_what_to_install(tmp_path, monkeypatch):
    for package in ("tensorboard", "tensorboardX"):
        monkeypatch.setitem(sys.modules, package, None)
    result = small(tmp_path, "logger=tensorboard")
    assert result.code == 2
    assert result.err.splitlines() == [
        "vaelab-train: logger=tensorboard needs TensorBoard: pip install 'vaelab[tensorboard]'"
    ]
