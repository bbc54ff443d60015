"""vaelab-export: a folder for others, with a card that tells what the record tells."""

import contextlib
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli_runner import Result, process_put_back, trained
from vaelab.cli import export as command
from vaelab.errors import UserError
from vaelab.reports.card import FILE_NAME, model_card
from vaelab.runs.record import read_record, write_record

HEADLINE = {"rate": "test/rate", "distortion": "test/distortion", "ELBO": "test/elbo"}


@pytest.fixture(autouse=True)
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX files take longer than all others; tests/training/test_export.py has them."""
    monkeypatch.setattr("vaelab.training.export.missing_for_onnx", lambda: ["onnx"])


@pytest.fixture(scope="module")
def curve_run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    settings = ("model=multi_rate_vae", "model.betas=[0.5,2]", "model.latent_dim=4", "network.hidden=[4]")
    return trained(tmp_path_factory.mktemp("curve"), *settings, "callbacks=none", "data.train_size=16")


def exported(*arguments: str | Path) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with process_put_back(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv[:] = ["vaelab-export", *map(str, arguments)]
        try:
            command.main()
            code = 0
        except SystemExit as stop:
            code = stop.code
    return code, out.getvalue(), err.getvalue()


def numbers_of(card: str) -> dict[str, str]:
    """The rows of the card's tables with two columns."""
    return dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", card, re.MULTILINE))


def as_shown(metrics: dict, name: str) -> str:
    return f"{metrics[name]:.2f} ({metrics[f'{name}_se']:.2f})"


def test_a_run_is_exported_with_its_numbers_and_pictures(vae_run: Result, tmp_path):
    code, out, err = exported(vae_run.folder, "--out", tmp_path / "mine")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("weights.safetensors: ")
    assert re.fullmatch(
        r"encoder\.pt2: images -> mean, log_variance; differs from the run by at most \S+", lines[1]
    )
    assert lines[-2] == "onnx: not installed: onnx (pip install 'vaelab[onnx]')"
    assert lines[-1].endswith(f"mine ({FILE_NAME} says how to load it)")
    card = (tmp_path / "mine" / FILE_NAME).read_text(encoding="utf-8")
    found, metrics = numbers_of(card), vae_run.record["metrics"]
    for shown, name in HEADLINE.items():
        assert found[shown] == as_shown(metrics, name)
    assert found["variant"] == "vae"
    assert found["data"].startswith("digits: 64 training, 32 validation and 360 test images of 1x8x8")
    assert found["posterior"] == "DiagonalGaussian()"
    assert "seed 3" in found["training"]
    linked = re.findall(r"\]\(([^)]+)\)", card)
    assert "pictures/samples/reconstructions.png" in linked
    assert all((tmp_path / "mine" / file).is_file() for file in linked)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_the_code_of_the_card_runs(vae_run: Result, tmp_path):
    assert exported(vae_run.folder, "--out", tmp_path / "mine")[0] == 0
    card = (tmp_path / "mine" / FILE_NAME).read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    import torch

    names = {"images": torch.rand(2, 1, 8, 8)}
    with contextlib.chdir(tmp_path / "mine"):
        exec(code, names)
    assert names["reconstructions"].shape == (2, 1, 8, 8)
    assert names["samples"].shape == (16, 1, 8, 8)
    assert names["q"].keys() == {"mean", "log_variance"}


@pytest.mark.parametrize("beta", [0.5, 2, 1.5])
def test_the_card_of_a_curve_has_the_numbers_of_its_beta(curve_run: Result, tmp_path, beta):
    code, _, err = exported(curve_run.folder, f"beta={beta}", "--out", tmp_path / "mine")
    assert (code, err) == (0, "")
    card = (tmp_path / "mine" / FILE_NAME).read_text(encoding="utf-8")
    found = numbers_of(card)
    assert found["β"] == f"{beta:g}"
    assert f"The functions are those of β = {beta:g}." in card
    points = {point["beta"]: point["metrics"] for point in curve_run.record["curve"]}
    if beta in points:
        assert {name: found[name] for name in HEADLINE} == {
            shown: as_shown(points[beta], name) for shown, name in HEADLINE.items()
        }
    else:
        assert not HEADLINE.keys() & found.keys()
        assert "`vaelab-evaluate RUN beta=1.5` measures them." in card


def test_settings_that_name_places_are_not_in_the_card(vae_run: Result, tmp_path):
    folder = shutil.copytree(vae_run.folder, tmp_path / "copy")
    record = read_record(folder)
    write_record(
        folder, record | {"overrides": ["model=vae", "data.path=/home/me/x.npz", "paths.data=/home"]}
    )
    export = {"beta": 1.0, "latent_shape": [4], "classes": None, "missing": {}, "torch": "2"}
    field = {"dtype": "float32", "shape": ["N", 4], "meaning": ""}
    graph = {"file": "f.pt2", "inputs": {"noise": field}, "outputs": {"z": field}, "largest_difference": 0.0}
    export |= {"graphs": dict.fromkeys(("encoder", "decoder", "prior"), graph)}
    export |= {"weights": {"file": "w", "tensors": 1}, "images": {"scaling": None, "range": [0, 1]}}
    card = model_card(folder, export, [])
    assert numbers_of(card)["settings"] == "model=vae"
    assert "/home" not in card
    write_record(folder, {key: value for key, value in record.items() if key != "data"})
    with pytest.raises(UserError, match=r"results\.json lacks what a card says: .*'data'"):
        model_card(folder, export, [])


def test_what_is_there_is_not_replaced_and_nothing_half_is_left(vae_run: Result, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    code, out, err = exported(vae_run.folder, "--out", tmp_path / "mine")
    assert (code, out) == (2, "")
    assert err == f"vaelab-export: {tmp_path / 'mine'} exists. Remove it, or name another folder by --out.\n"

    def fails(*_: object) -> None:
        raise UserError("the card can't be written.")

    monkeypatch.setattr("vaelab.reports.card.model_card", fails)
    code, _, err = exported(vae_run.folder, "--out", tmp_path / "other")
    assert (code, err) == (2, "vaelab-export: the card can't be written.\n")
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere: there is no such folder"),
        (("RUN", "RUN"), "vaelab-export exports one run, got "),
        (("beta=1",), "vaelab-export exports one run, got none."),
        (("RUN", "bta=1"), "There is no key 'bta'. Did you mean 'beta'?"),
        (("RUN", "beta=much"), "beta=much: must be a number > 0."),
        (("RUN", "beta=nan"), "beta=nan: must be a number > 0."),
        (("RUN", "beta=2"), "only model=multi_rate_vae has others."),
        (("RUN/checkpoints/last.ckpt",), "the card's numbers belong to the weights of its record."),
        (("RUN/samples",), "it is not the folder of a run."),
    ],
)
def test_a_mistake_is_said_in_one_line(vae_run: Result, tmp_path, arguments, message):
    given = [argument.replace("RUN", str(vae_run.folder)) for argument in arguments]
    code, out, err = exported(*given, "--out", tmp_path / "mine")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("vaelab-export: ")
    assert message in err
    assert not (tmp_path / "mine").exists()


def test_without_safetensors_it_says_what_to_install(vae_run: Result, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    code, _, err = exported(vae_run.folder, "--out", tmp_path / "mine")
    assert (code, err) == (
        2,
        "vaelab-export: safetensors is not installed: pip install 'vaelab[export]'\n",
    )


def test_a_mistake_is_refused_without_torch():
    code = (
        "import sys; sys.argv[1:] = ['nowhere']\n"
        "from vaelab.cli.export import main\n"
        "try: main()\n"
        "except SystemExit as stop: print(stop.code, {'torch', 'pytorch_lightning'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "2 set()\n", done.stderr
