"""``vaelab-dashboard``: a W&B workspace and report for a project or one of its sweeps, as code."""

import argparse
import json

PROGRAM = "vaelab-dashboard"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Make a W&B workspace and report that compare runs: rate and distortion, active units "
        "and ELBO against beta, KL per dimension, samples by beta, training curves.",
        epilog="Without --publish it prints what would be sent, as JSON; that needs no account and no "
        "network. Each --publish makes a new view and a new report.",
    )
    parser.add_argument("--entity", required=True, help="the W&B user or team")
    parser.add_argument("--project", required=True, help="the W&B project, as in logger.project")
    parser.add_argument("--group", help="one sweep: its folder's name; none: all runs of the project")
    parser.add_argument(
        "--publish", action="store_true", help="save both at the server, print their addresses"
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    if args.publish:
        from vaelab.reports.dashboard.publish import publish

        text = "\n".join(publish(args.entity, args.project, args.group).values())
    else:
        from vaelab.reports.dashboard.views import report, sent, workspace

        place = args.entity, args.project, args.group
        views = {"workspace": sent(workspace(*place)), "report": sent(report(*place))}
        text = json.dumps(views, indent=1, ensure_ascii=False)
    print(text)


def main() -> None:
    """The command."""
    args = arguments()
    from vaelab.cli.errors import present_errors

    present_errors(PROGRAM, lambda: run(args))


if __name__ == "__main__":
    main()
