"""``vaelab-compare``: a table, plots and a page from records, without torch, network or account."""

import argparse
from pathlib import Path

from vaelab.cli.errors import present_errors
from vaelab.cli.paths import split_outputs, version_text
from vaelab.runs.find import find_all

__all__ = ["main"]

PROGRAM = "vaelab-compare"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Compare runs: one table, rate-distortion curves, contact sheets, one HTML page.",
        epilog="Writes <sweep>/report/, or ./report for several arguments. Reads only the runs' files.",
    )
    parser.add_argument("--version", action="version", version=version_text())
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN_OR_SWEEP | paths.outputs=FOLDER",
        help="folders or names of sweeps and runs (none: the newest sweep), and where outputs lie",
    )
    parser.add_argument(
        "--no-fold", dest="fold", action="store_false", help="one row per run, seeds not averaged"
    )
    parser.add_argument(
        "--split", choices=["test", "val"], default="test", help="whose numbers (default: test)"
    )
    parser.add_argument("--out", type=Path, help="the report's folder")
    return parser.parse_intermixed_args(argv)


def run(args: argparse.Namespace) -> None:
    from vaelab.reports.report import compare

    print(compare(find_all(*split_outputs(args.runs)), args.out, args.split, args.fold))


def main() -> None:
    """Run the command."""
    args = arguments()
    present_errors(PROGRAM, lambda: run(args))


if __name__ == "__main__":
    main()
