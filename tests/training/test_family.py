"""Every variant below conf/model/ trains, logs, is stopped, goes on, comes back from disk and samples."""

import math
from pathlib import Path

import pytest
import torch

import vaelab
from cli_runner import read_record, run
from support.stopper import Stop
from vaelab.training.callbacks.history import read_rows

CONF = Path(__file__).resolve().parents[2] / "conf"
VARIANTS = sorted(file.stem for file in (CONF / "model").glob("[!_]*.yaml"))
DATA: dict[str, tuple[str, ...]] = {
    "digits": ("data=digits", "data.train_size=96", "network.hidden=[32]"),
    "sprites": (
        "data=sprites",
        "data.size=32",
        "data.train_size=96",
        "network=conv",
        "network.hidden=[8,8]",
        "network.dense=32",
    ),
}
QUICK = (
    "data.val_size=32",
    "data.batch_size=32",  # three steps an epoch
    "trainer.max_epochs=1",
    "trainer.limit_test_batches=1",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "callbacks.last.every_minutes=0",
    "callbacks.kl_pictures=null",
    "callbacks.latent_map=null",
    "+callbacks.stop._target_=support.stopper.Stop",
    "logger=csv",
)


@pytest.fixture(autouse=True)
def _never_left_behind():
    yield
    Stop.at(None)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_on_every_kind_of_data(tmp_path, variant, data):
    folder = tmp_path / "run"
    command = (f"model={variant}", *DATA[data], *QUICK, f"hydra.run.dir={folder}")
    resumes = data == "digits"  # once is enough
    if resumes:
        Stop.at("train_batch_end", 3)
        stopped = run(tmp_path, *command)
        assert stopped.code == 130, stopped.err + stopped.out
    result = run(tmp_path, *command)
    assert result.code == 0, result.err + result.out
    record = read_record(folder)
    assert record["status"] == "finished"
    assert record["sessions"][-1]["from"] == ("checkpoint" if resumes else "start")
    assert math.isfinite(record["metrics"]["test/distortion"])
    assert math.isfinite(record["metrics"]["train/loss"])
    assert any(row.get("val/distortion") for row in read_rows(folder / "metrics.csv"))
    assert (folder / "samples" / "prior.png").is_file()
    samples = vaelab.load(folder).sample(4)
    assert samples.shape == (4, *record["data"]["image_shape"])
    assert bool(torch.isfinite(samples).all())
