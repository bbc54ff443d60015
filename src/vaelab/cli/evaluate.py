"""``vaelab-evaluate``: further measurements of trained runs. It checks the config before importing torch."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from vaelab.cli.checks import Node, Number, OneOf, Rule, flag, integer, refuse, resolved, text
from vaelab.cli.compose import composed
from vaelab.cli.measured import measured_table, places
from vaelab.cli.paths import importable, version_text
from vaelab.errors import UserError
from vaelab.runs.find import find_all, record_folders
from vaelab.runs.naming import MULTIRUN
from vaelab.runs.record import read_record

__all__ = ["config_of", "main"]

PROGRAM = "vaelab-evaluate"
CONTRACT: dict[str, Rule] = {
    "eval": Node(),
    "udr": Node(optional=True),
    "paths": Node(),
    "beta": Number(0, above=True, also=(None,)),
    "target": Node(),
    "target.rate": Number(0, also=(None,)),
    "target.distortion": Number(also=(None,)),
    "target.active_units": integer(0, None),
    "target.elbo": OneOf(("best", None)),
    "force": flag,
    "log": flag,
    "device": text,
    "threads": integer(1, None),
    "paths.outputs": text,
    "data.path": text,
    "data.root": text,
    "udr.images": integer(2),
    "udr.similarity": OneOf(("lasso", "spearman")),
    "udr.threshold": Number(0),
}


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Measure what would take too long in every training. The numbers are written to "
        "results.json as eval/... and to the W&B run. Evaluations that are already there are skipped.",
        epilog="Settings: eval=default, eval=full, eval.NAME.KEY=VALUE, eval.NAME=null (see conf/eval). "
        "Of a multi-rate run: beta=2.5, or target.rate=10, target.distortion=20, target.active_units=5, "
        "target.elbo=best, which answer with the beta.",
    )
    parser.add_argument("--version", action="version", version=version_text())
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="RUN_OR_SWEEP | KEY=VALUE",
        help="runs and sweeps by folder or name (default: the newest sweep), and settings",
    )
    parser.add_argument("--config-dir", help="a folder with your own eval/*.yaml")
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE.",
        help="a package of your own whose parts the runs may name; anything else is refused",
    )
    return parser.parse_intermixed_args(argv)


def config_of(settings: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """The checked and resolved config of ``conf/evaluate.yaml`` with these settings."""
    config = resolved(composed("evaluate", settings, config_dir))
    refuse(config, CONTRACT)
    for name, node in config["eval"].items():
        if node is not None and not (isinstance(node, Mapping) and "_target_" in node):
            raise UserError(f"eval.{name} names no class: it needs a _target_.")
    cfg = OmegaConf.create(config)
    assert isinstance(cfg, DictConfig)
    return cfg


def run(args: argparse.Namespace) -> None:
    settings = [argument for argument in args.arguments if "=" in argument]
    names = [argument for argument in args.arguments if "=" not in argument]
    cfg = config_of(settings, args.config_dir)
    paths = find_all(names, Path(cfg.paths.outputs))
    folders = {folder.resolve(): folder for path in paths for folder in record_folders(path)}
    if not folders:
        raise UserError(f"{paths[0]} contains no record of a run. Give the folder of a run or a sweep.")
    from vaelab.evaluation.evaluate import evaluate_runs  # imports torch and Lightning
    from vaelab.reports import compare_sweep

    if args.trust or args.config_dir or any("_target_" in setting for setting in settings):
        importable([args.config_dir] if args.config_dir else [])  # only then is code of the user's own named
    succeeded = evaluate_runs(list(folders.values()), cfg, args.trust)
    for sweep in dict.fromkeys(folder.parent for folder in folders.values()):
        if (sweep / MULTIRUN).is_file():
            compare_sweep(sweep)
    names = [str(name) for name, node in cfg.eval.items() if node is not None] + ["udr"]
    if end := closing(list(folders.values()), names, cfg.log):
        print(f"\n{end}", flush=True)
    if not succeeded:
        sys.exit(1)


def closing(folders: Sequence[Path], names: Sequence[str], logged: bool) -> str:
    """The table of what these evaluations have measured, now or before, and where the numbers are."""
    records = []
    for folder in folders:
        with suppress(OSError, ValueError):  # its own line has said so
            record = read_record(folder)
            entries = record.get("evaluation")
            if isinstance(entries, dict) and any(isinstance(entries.get(name), dict) for name in names):
                records.append({**record, "folder": folder})
    table = measured_table(records, names)
    return "\n".join([*([table] if table else []), *places(records, logged)])


def main() -> None:
    """Run the command."""
    args = arguments()
    from vaelab.cli.errors import present_errors

    present_errors(PROGRAM, lambda: run(args), root="evaluate")


if __name__ == "__main__":
    main()
