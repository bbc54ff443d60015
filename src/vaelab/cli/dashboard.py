"""``vaelab-dashboard``: a W&B workspace and report for a project or one of its sweeps."""

import argparse
import json

from vaelab.cli.errors import present_errors
from vaelab.cli.paths import version_text
from vaelab.errors import UserError

__all__ = ["main"]

PROGRAM = "vaelab-dashboard"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Make a W&B workspace and report that compare runs: rate and distortion, active units "
        "and ELBO against beta, KL per dimension, samples by beta, training curves.",
        epilog="Without --publish it prints what would be sent, as JSON; that needs no account and no "
        "network. Each --publish makes a new view and a new report.",
    )
    parser.add_argument("--version", action="version", version=version_text())
    parser.add_argument("--entity", required=True, help="the W&B user or team")
    parser.add_argument("--project", required=True, help="the W&B project, as in logger.project")
    parser.add_argument("--group", help="one sweep: its folder's name; none: all runs of the project")
    parser.add_argument(
        "--publish", action="store_true", help="save both at the server, print their addresses"
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Print the dashboards as JSON, or save them and print their addresses.

    Raises:
        UserError: wandb-workspaces is not installed, or the server refuses the request.
    """
    try:
        import wandb_workspaces  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(f"{PROGRAM} needs wandb-workspaces: pip install 'vaelab[dashboard]'") from error
    place = args.entity, args.project, args.group
    if args.publish:
        from vaelab.reports.dashboard.publish import publish

        print("\n".join(publish(*place).values()))
    else:
        from vaelab.reports.dashboard.views import payload, report, workspace

        views = {"workspace": payload(workspace(*place)), "report": payload(report(*place))}
        print(json.dumps(views, indent=1, ensure_ascii=False))


def main() -> None:
    """Run the command."""
    args = arguments()
    present_errors(PROGRAM, lambda: run(args))


if __name__ == "__main__":
    main()
