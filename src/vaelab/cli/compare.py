"""``vaelab-compare``: from records to a table, figures and a page. No torch, no network, no account."""

import argparse
from pathlib import Path

from vaelab.reports.records import locate, newest_sweep
from vaelab.reports.report import compare

PROGRAM = "vaelab-compare"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Compare runs: one table, rate-distortion curves, contact sheets, one HTML page.",
        epilog="Writes <sweep>/report/; for several arguments ./report. Reads the runs' own files alone.",
    )
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN_OR_SWEEP",
        help="folders or names of sweeps and runs; none: the newest sweep",
    )
    parser.add_argument(
        "--no-fold", dest="fold", action="store_false", help="one row a run, seeds not averaged"
    )
    parser.add_argument(
        "--split", choices=["test", "val"], default="test", help="whose numbers (default: test)"
    )
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="where sweeps lie (default: outputs)"
    )
    parser.add_argument("--out", type=Path, help="the report's folder")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    paths = [locate(name, args.outputs) for name in args.runs] or [newest_sweep(args.outputs)]
    print(compare(paths, args.out, args.split, args.fold))


def main() -> None:
    """The command."""
    args = arguments()
    from vaelab.cli.train import present_errors

    present_errors(PROGRAM, lambda: run(args))


if __name__ == "__main__":
    main()
