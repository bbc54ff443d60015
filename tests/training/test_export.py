"""Exported runs: what their files give, in a process without vaelab too, is what vaelab gives."""

import json
import math
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import Tensor

import vaelab
from cli_runner import Result
from vaelab.cli.compose import composed
from vaelab.cli.paths import conf_dir
from vaelab.errors import UserError
from vaelab.training import export
from vaelab.training.assembly import build_autoencoder, map_shape
from vaelab.training.export import DESCRIPTION, NotExported, export_run, pickled, traced, write_pictures
from vaelab.training.graphs import Graph, graphs
from vaelab.types import RunContext

SCALING = {"mode": "standardize", "shift": [5.0, 50.0, 500.0], "spread": [1.0, 10.0, 100.0]}
SMALL = "network.hidden=[8]"
KINDS = {
    "map": ("model=ae", "network=conv_map", "network.width=8"),
    "conditional": ("model=conditional_vae", SMALL),
    "codebook": ("model=vq_vae", SMALL),
    "mixture": ("model=vamp_vae", "prior.components=3", SMALL),
    "hierarchy": ("model=hierarchical_vae", "model.groups=[2,2]", SMALL),
    "multi_rate": ("model=multi_rate_vae", SMALL),
    "scaled": ("model.posterior._target_=vaelab.models.FullCovariance", "likelihood=gaussian", SMALL),
}
BETA = 0.4
BATCHES = (1, 5)  # other sizes than that with which the functions were traced

# Where vaelab can't be imported and nothing can be unpickled: loads the files in each folder, calls them with
# the inputs that lie there, and writes what they give.
STRANGER = """
import pickle, sys
sys.modules["vaelab"] = None
import torch
import torch.export.pt2_archive  # before pickle is spoilt: its modules derive classes from Unpickler
from safetensors.torch import load_file, save_file

def refuse(*args, **kwargs):
    raise AssertionError("something is unpickled")

pickle.load = pickle.loads = pickle.Unpickler = torch.load = refuse
for folder in sys.argv[1:]:
    given = {}
    for name in ("encoder", "decoder", "prior"):
        function = torch.export.load(f"{folder}/{name}.pt2").module()
        for batch in (1, 5):
            inputs = load_file(f"{folder}/{name}_{batch}.safetensors")
            order = [key for key in ("images", "z", "noise", "labels") if key in inputs]
            for key, value in function(*(inputs[key] for key in order)).items():
                given[f"{name} {batch} {key}"] = value.contiguous()
    save_file(given, f"{folder}/given.safetensors")
    print(len(load_file(f"{folder}/weights.safetensors")), "vaelab.models" in sys.modules)
"""


def untrained(*settings: str, shape: tuple[int, ...] = (1, 8, 8), **facts) -> vaelab.Run:
    """A run whose model has random weights, none of them zero."""
    cfg = composed("train", settings)
    OmegaConf.resolve(cfg)
    latents = map_shape(cfg, shape)
    dimensions = math.prod(latents) if latents else cfg.model.latent_dim
    known = {"num_classes": 4, "latent_shape": latents, "levels": 256, "target_distortion": 9.0, **facts}
    context = RunContext(shape, dimensions, 100, **known)
    model = build_autoencoder(cfg, context).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return vaelab.Run(Path("nowhere"), {"name": "untrained", "beta": None}, model, context)


def of_kind(kind: str) -> vaelab.Run:
    facts = {"shape": (3, 8, 8), "scaling": SCALING, "value_range": (-3.0, 3.0)} if kind == "scaled" else {}
    return untrained(*KINDS[kind], **facts)


def inputs_of(kind: str, run: vaelab.Run, batch: int) -> dict[str, dict[str, Tensor]]:
    """Inputs of each function, other ones than those of the export."""
    images = torch.rand(batch, *run.context.image_shape)
    images = images if run.scaling is None else run.scaling.undo(images)
    labels = {"labels": torch.arange(batch) % 4} if kind == "conditional" else {}
    z, noise = torch.randn(batch, *run.latent_shape), torch.randn(batch, run.model.latent_dim)
    return {
        "encoder": {"images": images, **labels},
        "decoder": {"z": z, **labels},
        "prior": {"noise": noise},
    }


def expected_of(kind: str, run: vaelab.Run, inputs: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """What the run itself gives, by the methods that a user of vaelab calls."""
    beta = BETA if kind == "multi_rate" else None
    labels = inputs["encoder"].get("labels")
    q = run.encode(inputs["encoder"]["images"], labels, beta)
    if kind == "map":
        encoded = {"code": q.loc}
    elif kind == "codebook":
        encoded = {"codes": q.codes, "quantised": q.loc}
    else:
        encoded = {"mean": q.loc, "log_variance": 2 * q.scale.log()}
        encoded |= {"tril": q.tril} if kind == "scaled" else {}
    with torch.no_grad():
        z = run.at(beta).prior_density().sample(inputs["prior"]["noise"])
    return {
        **{f"encoder {name}": value for name, value in encoded.items()},
        "decoder images": run.decode(inputs["decoder"]["z"], labels, beta),
        "prior z": z.reshape(-1, *run.latent_shape),
    }


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX files take longer than all others."""
    monkeypatch.setattr(export, "missing_for_onnx", lambda: ["onnx"])


@pytest.mark.slow
@pytest.mark.usefixtures("without_onnx")
def test_a_process_without_vaelab_and_without_pickle_gives_the_same(tmp_path):
    expected, weights = {}, []
    for kind in KINDS:
        folder, run = tmp_path / kind, of_kind(kind)
        folder.mkdir()
        described = export_run(run, folder, BETA if kind == "multi_rate" else None)
        assert list(described["missing"]) == ["onnx"], kind
        weights.append(len(run.model.state_dict()))
        for batch in BATCHES:
            inputs = inputs_of(kind, run, batch)
            for name, tensors in inputs.items():
                save_file(tensors, folder / f"{name}_{batch}.safetensors")
            for key, value in expected_of(kind, run, inputs).items():
                expected[kind, key.replace(" ", f" {batch} ")] = value
    command = [sys.executable, "-I", "-c", STRANGER, *(str(tmp_path / kind) for kind in KINDS)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "".join(f"{number} False\n" for number in weights)
    given = {
        (kind, name): value
        for kind in KINDS
        for name, value in load_file(tmp_path / kind / "given.safetensors").items()
    }
    assert given.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(given[name], value, rtol=1e-5, atol=1e-5), name
        assert given[name].double().std() > 1e-3, name  # else anything constant would pass


@pytest.mark.usefixtures("without_onnx")
def test_the_description_says_what_the_files_take_and_give(vae_run: Result, tmp_path):
    run = vaelab.load(vae_run.folder)
    described = export_run(run, tmp_path)
    assert json.loads((tmp_path / DESCRIPTION).read_text()) == described
    assert described["missing"] == {"onnx": "not installed: onnx (pip install 'vaelab[onnx]')"}
    assert described["images"] == {"shape": [1, 8, 8], "range": [0.0, 1.0], "scaling": None}
    assert (described["beta"], described["latent_shape"], described["classes"]) == (1.0, [4], None)
    shapes = {
        (graph, way, name): field["shape"]
        for graph, entry in described["graphs"].items()
        for way in ("inputs", "outputs")
        for name, field in entry[way].items()
    }
    assert shapes == {
        ("encoder", "inputs", "images"): ["N", 1, 8, 8],
        ("encoder", "outputs", "mean"): ["N", 4],
        ("encoder", "outputs", "log_variance"): ["N", 4],
        ("decoder", "inputs", "z"): ["N", 4],
        ("decoder", "outputs", "images"): ["N", 1, 8, 8],
        ("prior", "inputs", "noise"): ["N", 4],
        ("prior", "outputs", "z"): ["N", 4],
    }
    assert all(entry["largest_difference"] < 1e-6 for entry in described["graphs"].values())
    weights = load_file(tmp_path / "weights.safetensors")
    assert weights.keys() == run.model.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in run.model.state_dict().items())


@pytest.mark.usefixtures("without_onnx")
def test_a_file_has_its_own_weights_alone_and_no_path_of_this_machine(tmp_path):
    run = untrained("model=vae", SMALL)
    export_run(run, tmp_path)
    source = str(Path(vaelab.__file__).parent).encode()
    for name in ("encoder", "decoder"):
        with zipfile.ZipFile(tmp_path / f"{name}.pt2") as archive:
            contents = {part: archive.read(part) for part in archive.namelist()}
        assert not [part for part, content in contents.items() if source in content]
        stored = sum(len(content) for part, content in contents.items() if "/weight_" in part)
        assert stored == sum(4 * weight.numel() for weight in getattr(run.model, name).parameters())


@pytest.mark.slow
def test_onnx_gives_the_same_at_any_number_of_images(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run = of_kind("conditional")
    described = export_run(run, tmp_path)
    assert described["missing"] == {}
    inputs = inputs_of("conditional", run, 7)
    expected = expected_of("conditional", run, inputs)
    for name, entry in described["graphs"].items():
        session = onnxruntime.InferenceSession(tmp_path / entry["onnx"]["file"])
        assert {field.shape[0] for field in session.get_inputs()} == {"batch"}
        given = session.run(None, {key: value.numpy() for key, value in inputs[name].items()})
        for field, value in zip(session.get_outputs(), given, strict=True):
            wanted = expected.pop(f"{name} {field.name}")
            assert torch.allclose(torch.as_tensor(value), wanted, rtol=1e-5, atol=1e-5), name
    assert expected == {}


class Halved(torch.nn.Module):
    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"images": z / 2}


class Branching(torch.nn.Module):
    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"images": z if z.sum() > 0 else -z}


def graph_of(module: torch.nn.Module) -> Graph:
    z = torch.ones(3, 2)
    return Graph("decoder", module, {"z": z}, {"images": z})


def test_a_function_that_gives_something_else_is_refused(tmp_path):
    entry, missing = export.write_graph(graph_of(Halved()), tmp_path, onnx=False)
    assert entry is None
    assert missing["decoder.pt2"].startswith("it does not give what the run gives: ")
    assert not list(tmp_path.iterdir())


def test_what_torch_cannot_trace_is_refused_with_its_reason(vae_run: Result, tmp_path, monkeypatch):
    with pytest.raises(NotExported, match=r"torch\.export: .*data-dependent"):
        traced(graph_of(Branching()))
    monkeypatch.setattr(export, "graphs", lambda run, beta: iter([graph_of(Branching())]))
    with pytest.raises(UserError, match=r"the decoder can't be exported: torch\.export: ") as refused:
        export_run(vaelab.load(vae_run.folder), tmp_path)
    assert len(str(refused.value).splitlines()) == 1


def test_a_prior_that_cannot_be_exported_is_left_out(vae_run: Result, tmp_path, monkeypatch):
    pair = list(graphs(vaelab.load(vae_run.folder)))[:2]
    prior = graph_of(Branching())._replace(name="prior")
    monkeypatch.setattr(export, "graphs", lambda run, beta: iter([*pair, prior]))
    monkeypatch.setattr(export, "missing_for_onnx", lambda: ["onnx"])
    described = export_run(vaelab.load(vae_run.folder), tmp_path)
    assert list(described["graphs"]) == ["encoder", "decoder"]
    assert described["missing"]["prior.pt2"].startswith("torch.export: ")


def test_a_pickle_in_a_file_is_found(tmp_path):
    program = torch.export.export(Halved(), (torch.ones(3, 2),))
    torch.export.save(program, tmp_path / "with_examples.pt2")
    assert len(pickled(tmp_path / "with_examples.pt2")) == 1
    program.example_inputs = None
    torch.export.save(program, tmp_path / "without.pt2")
    assert pickled(tmp_path / "without.pt2") == []


def test_only_a_multi_rate_run_has_a_choice_of_beta(vae_run: Result, tmp_path):
    with pytest.raises(UserError, match="only model=multi_rate_vae has others"):
        export_run(vaelab.load(vae_run.folder), tmp_path, beta=2.0)


def test_pictures_are_the_runs_own_and_their_lack_has_a_reason(vae_run: Result, tmp_path):
    files, problem = write_pictures(vaelab.load(vae_run.folder), tmp_path)
    assert problem == []
    assert "pictures/samples/reconstructions.png" in files
    assert all((tmp_path / file).is_file() for file in files)

    def figures(beta: float | None) -> None:
        raise UserError("data.path: there is no such file.")

    without = SimpleNamespace(figures=figures)
    assert write_pictures(without, tmp_path) == ([], ["pictures: data.path: there is no such file."])


CHOICES = sorted(
    f"{group}={file.stem}"
    for group in ("model", "network", "likelihood")
    for file in (conf_dir() / group).glob("[!_]*.yaml")
)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("without_onnx")
@pytest.mark.parametrize("choice", CHOICES)
def test_every_variant_network_and_likelihood_is_exported(tmp_path, choice):
    described = export_run(untrained(choice, shape=(3, 64, 64)), tmp_path)
    assert list(described["graphs"]) == ["encoder", "decoder", "prior"]
    assert list(described["missing"]) == ["onnx"]
