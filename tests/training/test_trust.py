"""A config from a stored file calls nothing that is not known."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import vaelab
from cli_runner import Result
from vaelab.errors import UserError
from vaelab.runs.files import digest
from vaelab.training.trust import stored_config

FILE = Path("best.ckpt")

CALLED = [
    "os.mkdir",
    "os.system",
    "builtins.open",
    "pathlib.Path.touch",
    "numpy.savetxt",
    "numpy.load",
    "joblib.load",
    "torch.load",
    "torch.hub.load",
    "subprocess.run",
    "hydra.utils.get_method",
    "hydra.utils.instantiate",
    "importlib.import_module",
    # reached through a name that begins like a trusted one
    "vaelab.import_module",
    "vaelab.runs.lock.os.mkdir",
    "vaelab.data.idx.Path.touch",
    "vaelab.models.autoencoder.torch.load",
    "vaelab.training.assembly.import_module",
    "vaelab.runs.files.replacing",
    "torch.nn.modules.module.torch.load",
    "torch.nn.functional.relu",
    "torch.nn.init.normal_",
    "torch.optim.lr_scheduler.Counter",
    "pytorch_lightning.callbacks.model_checkpoint.os.mkdir",
    "torchmetrics.utilities.data.torch.load",
    "vaelab",
    "",
    3,
]


@pytest.mark.parametrize("target", CALLED)
@pytest.mark.parametrize(
    "place",
    [
        lambda node: {"prior": node},
        lambda node: {"model": {"objective": {"kl": {"_target_": "vaelab.models.KL", "weight": node}}}},
        lambda node: {"network": {"_target_": "vaelab.models.MLP", "_args_": [[node]]}},
    ],
    ids=["part", "argument", "in a list"],
)
def test_what_is_not_known_is_refused_by_its_name_and_key(place, target):
    with pytest.raises(
        UserError, match=r"best\.ckpt wants to call .*no part of vaelab|no such class"
    ) as error:
        stored_config(place({"_target_": target, "_partial_": True}), FILE)
    assert len(str(error.value).splitlines()) == 1


def test_a_name_that_an_interpolation_gives_is_checked():
    with pytest.raises(UserError, match=r"wants to call 'os\.mkdir' \(prior\)"):
        stored_config({"a": "os.mkdir", "prior": {"_target_": "${a}"}}, FILE)


def test_an_untrusted_module_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "strangers.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"trust=\['strangers\.'\]"):
        stored_config({"prior": {"_target_": "strangers.Prior"}}, FILE, trust=["mine.", ""])
    assert "strangers" not in sys.modules


@pytest.mark.parametrize(
    "target",
    [
        "vaelab.models.KL",
        "vaelab.data.load_digits",
        "torch.nn.ReLU",
        "torch.optim.Adam",
        "torch.optim.lr_scheduler.StepLR",
        "pytorch_lightning.callbacks.ModelCheckpoint",
        "pytorch_lightning.Trainer",
        "torchmetrics.MeanMetric",
    ],
)
def test_what_is_known_passes(target):
    config = {"prior": {"_target_": target, "_partial_": True}}
    assert OmegaConf.to_container(stored_config(config, FILE)) == config


def test_a_trusted_package_may_be_named_but_not_what_it_imports(tmp_path, monkeypatch):
    (tmp_path / "mine_a.py").write_text("import os\nfrom mine_b import Other\nclass Prior: ...\n")
    (tmp_path / "mine_b.py").write_text("class Other: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    for trust in (["mine_a."], ["mine_a"]):
        stored_config({"prior": {"_target_": "mine_a.Prior"}}, FILE, trust)
    for target in ("mine_a.os.mkdir", "mine_a.Other", "mine_b.Other"):
        with pytest.raises(UserError, match="wants to call"):
            stored_config({"prior": {"_target_": target}}, FILE, ["mine_a."])
    with pytest.raises(UserError, match="wants to call"):
        stored_config({"prior": {"_target_": "mine_a.Prior"}}, FILE, ["mine"])


@pytest.fixture
def copy(vae_run: Result, tmp_path: Path) -> Path:
    return shutil.copytree(vae_run.folder, tmp_path / "copy")


def test_loading_a_strangers_checkpoint_calls_nothing(copy: Path, tmp_path: Path):
    file, made = copy / "checkpoints" / "best.ckpt", tmp_path / "made"
    checkpoint = torch.load(file, weights_only=True)
    checkpoint["vaelab"]["config"]["prior"] = {"_target_": "os.mkdir", "path": str(made)}
    torch.save(checkpoint, file)
    record = json.loads((copy / "results.json").read_text())
    (copy / "results.json").write_text(json.dumps(record | {"weights_sha256": digest(file)}))
    with pytest.raises(UserError, match=r"wants to call 'os\.mkdir' \(prior\)"):
        vaelab.load(copy)
    assert not made.exists()


def test_the_data_of_a_strangers_record_call_nothing(copy: Path, tmp_path: Path):
    record = json.loads((copy / "results.json").read_text())
    record["config"]["data"]["source"] = {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
    (copy / "results.json").write_text(json.dumps(record))
    for picture in copy.glob("*/*.png"):
        picture.unlink()
    with pytest.raises(UserError, match=r"results\.json wants to call 'os\.mkdir' \(data\.source\)"):
        vaelab.load(copy).figures()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["../outside.ckpt", "/etc/passwd", "checkpoints/link.ckpt"])
def test_weights_outside_of_the_folder_are_not_followed(copy: Path, tmp_path: Path, name: str):
    shutil.copy(copy / "checkpoints" / "best.ckpt", tmp_path / "outside.ckpt")
    (copy / "checkpoints" / "link.ckpt").symlink_to(tmp_path / "outside.ckpt")
    record = json.loads((copy / "results.json").read_text())
    (copy / "results.json").write_text(json.dumps(record | {"weights": name}))
    with pytest.raises(UserError, match="outside of the run's folder"):
        vaelab.load(copy)
    assert vaelab.load(copy, weights=str(tmp_path / "outside.ckpt")).model is not None  # the user's own word
