"""``vaelab-export``: a trained run as files that are loaded without vaelab and without pickle."""

import argparse
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vaelab.cli.errors import present_errors
from vaelab.cli.paths import importable, shown_path, split_outputs, version_text
from vaelab.errors import UserError, did_you_mean
from vaelab.runs.find import find_run

__all__ = ["FOLDER", "main"]

PROGRAM = "vaelab-export"
FOLDER = "export"
BETA = "beta"


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Write a trained run as files for others: its weights as safetensors; encoder, decoder "
        "and prior as functions of torch.export, and as ONNX where onnx is installed; a model card with its "
        "numbers and pictures. They are loaded without vaelab and without pickle.",
        epilog=f"Example: {PROGRAM} demo/03-beta1 --out my_model. Of a multi-rate run: beta=2.5.",
    )
    parser.add_argument("--version", action="version", version=version_text())
    parser.add_argument(
        "arguments",
        nargs="+",
        metavar="RUN | beta=BETA | paths.outputs=FOLDER",
        help="the folder or name of a run; of a multi-rate run, the beta; and where outputs lie",
    )
    parser.add_argument("--out", type=Path, help=f"a folder that does not exist yet (default: RUN/{FOLDER})")
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE.",
        help="a package of your own whose parts the run may name; anything else is refused",
    )
    return parser.parse_intermixed_args(argv)


def main() -> None:
    """Run the command."""
    args = arguments()
    present_errors(PROGRAM, lambda: run(args))


def run(args: argparse.Namespace) -> None:
    names, outputs = split_outputs(args.arguments)
    settings = dict(name.split("=", 1) for name in names if "=" in name)
    beta = beta_of(settings)
    names = [name for name in names if "=" not in name]
    if len(names) != 1:
        raise UserError(f"{PROGRAM} exports one run, got {', '.join(names) or 'none'}.")
    folder, checkpoint = find_run(names[0], outputs)
    if checkpoint:
        raise UserError(f"Give the folder {folder}: the card's numbers belong to the weights of its record.")
    out = args.out or folder / FOLDER
    if out.exists():
        raise UserError(f"{out} exists. Remove it, or name another folder by --out.")
    if find_spec("safetensors") is None:
        raise UserError("safetensors is not installed: pip install 'vaelab[export]'")
    if args.trust:
        importable()
    from vaelab.reports.card import FILE_NAME, model_card
    from vaelab.training.export import export_run, write_pictures
    from vaelab.training.loading import load

    trained = load(folder, trust=args.trust)
    with whole_folder(out) as temporary:
        described = export_run(trained, temporary, beta)
        pictures, problem = write_pictures(trained, temporary, beta)
        card = model_card(folder, described, pictures)
        (temporary / FILE_NAME).write_text(card, encoding="utf-8")
    print(
        "\n".join(
            [*lines(described), *problem, f"Written: {shown_path(out)} ({FILE_NAME} says how to load it)"]
        )
    )


def beta_of(settings: Mapping[str, str]) -> float | None:
    """The beta that the settings name, if any.

    Raises:
        UserError: it is no number > 0, or there is another setting.
    """
    for key in settings:
        if key != BETA:
            raise UserError(f"There is no key {key!r}. {did_you_mean(key, [BETA, 'paths.outputs'])}")
    if BETA not in settings:
        return None
    try:
        beta = float(settings[BETA])
    except ValueError:
        beta = 0.0
    if not 0 < beta < float("inf"):
        raise UserError(f"{BETA}={settings[BETA]}: must be a number > 0.")
    return beta


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that becomes ``path`` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=path.parent) as parent:
        temporary = Path(parent) / path.name
        temporary.mkdir()
        yield temporary
        os.rename(temporary, path)


def lines(described: Mapping[str, Any]) -> Iterator[str]:
    """What was written, a line for each file, and a line for what was not and why."""
    yield f"{described['weights']['file']}: {described['weights']['tensors']} tensors"
    for graph in described["graphs"].values():
        for file in filter(None, (graph, graph.get("onnx"))):
            arrow = f"{', '.join(graph['inputs'])} -> {', '.join(graph['outputs'])}"
            difference = f"{file['largest_difference']:.1g}"
            yield f"{file['file']}: {arrow}; differs from the run by at most {difference}"
    for name, why in described["missing"].items():
        yield f"{name}: {why}"


if __name__ == "__main__":
    main()
