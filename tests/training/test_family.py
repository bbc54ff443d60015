"""Every variant below conf/model/ trains, logs, is stopped, goes on, comes back from disk and samples."""

import math
from pathlib import Path

import pytest
import torch
from PIL import Image

import vaelab
from cli_runner import run
from support.stopper import OutOfTime
from vaelab.training.callbacks.history import read_rows

CONF = Path(__file__).resolve().parents[2] / "conf"
VARIANTS = sorted(file.stem for file in (CONF / "model").glob("[!_]*.yaml"))
MAPS = ["kl_map_vae"]  # variants whose latents are maps, whatever the network
VECTORS = ["hierarchical_vae"]  # and those of which they are vectors
SPRITES = ("data=sprites", "data.size=32", "network=conv", "network.hidden=[8,8]", "network.dense=32")
CONV_MAP = ("network=conv_map", "network.width=8", "network.channels=8")  # so many that all codes fit
QUICK = (
    "data.train_size=96",
    "data.val_size=32",
    "data.batch_size=32",  # three steps an epoch
    "trainer.max_epochs=1",
    "trainer.limit_test_batches=1",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "callbacks.last.every_minutes=0",
    "callbacks.kl_pictures=null",
    "callbacks.latent_map=null",
    "+callbacks.out_of_time._target_=support.stopper.OutOfTime",
    "logger=csv",
)


def colour_images(folder: Path) -> Path:
    """Files of 160 colour images of two classes, in a folder for each."""
    for number in range(160):
        file = folder / f"class{number % 2}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(torch.randint(256, (20, 24, 3), dtype=torch.uint8).numpy()).save(file)
    return folder


@pytest.mark.usefixtures("plain_table")
@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [
        ("data=digits", "network.hidden=[32]"),
        *(
            pytest.param(case, marks=pytest.mark.exhaustive)
            for case in [
                SPRITES,
                ("data=digits", *CONV_MAP),
                ("data=sprites", "data.size=32", *CONV_MAP, "network.down=3"),
                ("data=folder", "data.size=16", "data.channels=3", *CONV_MAP),
            ]
        ),
    ],
    ids=" ".join,
)
def test_every_variant_on_every_kind_of_data(tmp_path, monkeypatch, data):
    refused = VECTORS if "network=conv_map" in data else MAPS
    variants = [name for name in VARIANTS if name not in refused]
    if "data=folder" in data:
        data = (*data, f"data.path={colour_images(tmp_path / 'images')}", f"paths.data={tmp_path / 'data'}")
    # a folder has its own validation images
    quick = [setting for setting in QUICK if "data=folder" not in data or "val_size" not in setting]
    command = ("-m", f"model={','.join(variants)}", *data, *quick, f"hydra.sweep.dir={tmp_path}/sweeps/all")
    resumes = "data=digits" in data
    if resumes:
        monkeypatch.setattr(OutOfTime, "active", True)
        run(tmp_path, *command)
        monkeypatch.undo()
    result = run(tmp_path, *command)
    assert result.code == 0, result.err + result.out
    records = {record["variant"]: (result.sweep / name, record) for name, record in result.records.items()}
    assert sorted(records) == variants
    for variant, (folder, record) in records.items():
        assert record["status"] == "finished", variant
        assert record["sessions"][-1]["from"] == ("checkpoint" if resumes else "start"), variant
        assert math.isfinite(record["metrics"]["test/distortion"]), variant
        assert math.isfinite(record["metrics"]["train/loss"]), variant
        assert any(row.get("val/distortion") for row in read_rows(folder / "metrics.csv")), variant
        assert (folder / "samples" / "prior.png").is_file(), variant
        samples = vaelab.load(folder, trust=["support."]).sample(4)
        assert samples.shape == (4, *record["data"]["image_shape"]), variant
        assert bool(torch.isfinite(samples).all()), variant
