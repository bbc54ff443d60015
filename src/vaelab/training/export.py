"""Write a trained run as files that are loaded without vaelab and without pickle.

======================  ==========================================================================
weights.safetensors     every weight of the model, under the names of ``run.model.state_dict()``
encoder.pt2, ...        :mod:`vaelab.training.graphs` by ``torch.export``, with a batch of any size
encoder.onnx, ...       the same, where the packages of ``vaelab[onnx]`` are installed
export.json             what each of them takes and gives, and how far it is from the run itself
======================  ==========================================================================

Each graph is read back from its file and compared with the run before the export ends.
"""

import json
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from vaelab.errors import UserError, causes, first_line, one_line
from vaelab.models.rate_condition import RateCondition
from vaelab.runs.files import digest
from vaelab.runs.record import finite
from vaelab.training.graphs import MEANINGS, Graph, graphs
from vaelab.training.loading import Run

__all__ = ["DESCRIPTION", "WEIGHTS", "export_run", "missing_for_onnx", "write_pictures"]

DESCRIPTION = "export.json"
WEIGHTS = "weights.safetensors"
FORMAT = 1
ONNX = ("onnx", "onnxscript", "onnxruntime")
SHOWN = (  # pictures of the card
    "samples/reconstructions",
    "samples/prior",
    "samples/traversals",
    "latents/map",
    "latents/kl_per_dim",
    "latents/kl_over_beta",
)
BATCHES = (3, 1)  # sizes at which a graph is compared with the run
RTOL, ATOL = 1e-4, 1e-5  # of float32, in another order of sums


class NotExported(Exception):
    """A graph can't be written, or does not give what the run gives."""


def missing_for_onnx() -> list[str]:
    """The packages that ONNX files need and that are not installed."""
    return [name for name in ONNX if find_spec(name) is None]


def export_run(run: Run, folder: Path, beta: float | None = None) -> dict[str, Any]:
    """Write the run into ``folder``, which exists, and return what ``export.json`` says.

    Encoder and decoder are always there. No graph may express the prior, and ONNX may lack an operator: the
    description says under ``missing`` which file is not there and why.

    Args:
        beta: of a multi-rate run, the beta of the model that is written; the weights are those of all betas.

    Raises:
        UserError: the encoder or the decoder can't be exported, or ``beta`` is none of the run's.
    """
    described: dict[str, Any] = {
        "format": FORMAT,
        "run": {key: run.record.get(key) for key in ("name", "variant", "dataset")},
        "beta": exported_beta(run, beta),
        "torch": torch.__version__,
        "images": {
            "shape": list(run.context.image_shape),
            "range": list(run.context.value_range),  # of scaled images, where there is a scaling
            "scaling": run.context.scaling,
        },
        "latent_shape": list(run.latent_shape),
        "classes": run.model.condition.features or None,
        "weights": write_weights(run, folder / WEIGHTS),
        "graphs": {},
        "missing": {},
    }
    lacking = missing_for_onnx()
    if lacking:
        described["missing"]["onnx"] = f"not installed: {', '.join(lacking)} (pip install 'vaelab[onnx]')"
    with quiet():
        for graph in graphs(run, beta):
            entry, missing = write_graph(graph, folder, onnx=not lacking)
            described["missing"] |= missing
            if entry is not None:
                described["graphs"][graph.name] = entry
            elif graph.name != "prior":
                [reason] = missing.values()
                raise UserError(f"{run.record['name']}: the {graph.name} can't be exported: {reason}")
    text = json.dumps(described, indent=1, allow_nan=False)
    (folder / DESCRIPTION).write_text(f"{text}\n", encoding="utf-8")
    return described


def write_graph(graph: Graph, folder: Path, onnx: bool) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """Write the files of a graph: what ``export.json`` says of them, and why which of them is not there.

    Without the first file there is no description, and no second file.
    """
    file, further = (folder / f"{graph.name}{suffix}" for suffix in (".pt2", ".onnx"))
    try:
        program = traced(graph)
        entry = {
            "file": file.name,
            "inputs": fields(graph.inputs),
            "outputs": fields(graph.outputs),
            "largest_difference": write_program(graph, program, file),
        }
    except NotExported as error:
        file.unlink(missing_ok=True)
        return None, {file.name: str(error)}
    try:
        if onnx:
            entry["onnx"] = {"file": further.name, "largest_difference": write_onnx(graph, program, further)}
    except NotExported as error:
        further.unlink(missing_ok=True)
        return entry, {further.name: str(error)}
    return entry, {}


def exported_beta(run: Run, beta: float | None) -> float | None:
    """The beta of the exported model: of a multi-rate run its default if ``beta`` is None."""
    condition = run.model.condition
    if isinstance(condition, RateCondition):
        return condition.default if beta is None else beta
    return finite(run.record.get("beta"))


def write_pictures(run: Run, folder: Path, beta: float | None = None) -> tuple[list[str], list[str]]:
    """Write the run's pictures into ``folder``: their files, and a line that says why there are none."""
    try:
        figures = run.figures(beta)
    except UserError as error:  # they would have to be drawn, and the data are not here
        return [], [f"pictures: {error}"]
    files = [f"pictures/{name}.png" for name in SHOWN if name in figures]
    for name, file in zip([name for name in SHOWN if name in figures], files, strict=True):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        figures[name].save(folder / file)
    return files, []


def write_weights(run: Run, file: Path) -> dict[str, Any]:
    """Write the model's parameters and buffers, and return their file, its digest and their number."""
    from safetensors.torch import save

    # a copy of each: the format has no tensors that share memory
    tensors = {name: value.clone().contiguous() for name, value in run.model.state_dict().items()}
    file.write_bytes(save(tensors, metadata={"format": "pt"}))
    return {"file": file.name, "sha256": digest(file), "tensors": len(tensors)}


def fields(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """``{"z": {"dtype": "float32", "shape": ["N", 10], "meaning": ...}}``"""
    return {
        name: {
            "dtype": str(value.dtype).removeprefix("torch."),
            "shape": ["N", *value.shape[1:]],
            "meaning": MEANINGS.get(name, ""),
        }
        for name, value in tensors.items()
    }


def traced(graph: Graph) -> ExportedProgram:
    """The graph by torch.export, of any batch, without examples and without the paths of source files."""
    batch = {name: {0: Dim("batch")} for name in graph.inputs}
    try:
        program = torch.export.export(graph.module, tuple(graph.inputs.values()), dynamic_shapes=batch)
    except Exception as error:  # torch.export raises errors of many types, of a part of anyone's
        raise NotExported(f"torch.export: {one_line(error)}") from error
    program.example_inputs = None  # they would be a pickle in the file
    for module in program.graph_module.modules():
        for node in getattr(module, "graph", program.graph).nodes:
            node.meta.pop("stack_trace", None)
    return program


def write_program(graph: Graph, program: ExportedProgram, file: Path) -> float:
    """Write a .pt2 file, and return by how much it differs from the run at most."""
    torch.export.save(program, file)
    if parts := pickled(file):
        raise NotExported(f"torch.export would need pickle for {parts[0]}")
    module = torch.export.load(file).module()
    return largest_difference(graph, lambda inputs: module(*inputs.values()))


def pickled(file: Path) -> list[str]:
    """The parts of a .pt2 file that torch.export.load would unpickle: objects, and examples of inputs."""
    found = []
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if name.endswith(("weights_config.json", "constants_config.json")):
                config = json.loads(archive.read(name))["config"]
                found += [part for part, payload in config.items() if payload["use_pickle"]]
            if "/sample_inputs/" in name and archive.getinfo(name).file_size:
                found.append(name)
    return found


def write_onnx(graph: Graph, program: ExportedProgram, file: Path) -> float:
    """Write an .onnx file, and return by how much it differs from the run at most, by onnxruntime."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.log_severity_level = 3  # errors

    def call(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        given = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        return dict(zip(graph.outputs, map(torch.as_tensor, given), strict=True))

    try:
        made: Any = torch.onnx.export(
            program,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamo=True,
            verbose=False,
        )
        made.rename_axes({made.model.graph.inputs[0].shape[0]: "batch"})
        made.save(file, external_data=False)
        session = InferenceSession(file, options)
        return largest_difference(graph, call)
    except NotExported:
        raise
    except Exception as error:  # as above; what torch says of itself comes before the reason
        raise NotExported(f"torch.onnx: {first_line(list(causes(error))[-1])}") from error


def largest_difference(graph: Graph, call: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]) -> float:
    """The greatest absolute difference between what ``call`` and the run give of the same inputs.

    Raises:
        NotExported: it is more than rounding, or another name, shape or type is given.
    """
    largest = 0.0
    for batch in BATCHES:
        given = call({name: value[:batch] for name, value in graph.inputs.items()})
        expected = {name: value[:batch] for name, value in graph.outputs.items()}
        try:
            torch.testing.assert_close(dict(given), expected, rtol=RTOL, atol=ATOL)
        except AssertionError as error:
            raise NotExported(f"it does not give what the run gives: {one_line(error)}") from error
        differences = [(given[name] - value).abs().max().item() for name, value in expected.items()]
        largest = max(largest, *differences)
    return largest


@contextmanager
def quiet() -> Iterator[None]:
    """Without torch's remarks on itself: operators of packages that are not installed, deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
