"""``vaelab-status``: a table of the jobs of a sweep and their progress, once or repeatedly."""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from vaelab.cli.errors import present_errors
from vaelab.cli.paths import split_outputs, version_text
from vaelab.errors import INTERRUPTED, UserError
from vaelab.runs.find import find_all
from vaelab.runs.status import LOG, Job, counts, duration, remaining, sweep_jobs
from vaelab.runs.tables import as_text, table

__all__ = ["main"]

PROGRAM = "vaelab-status"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Show how far the jobs of a sweep are: finished, running, interrupted, failed, waiting.",
    )
    parser.add_argument("--version", action="version", version=version_text())
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="SWEEP | paths.outputs=FOLDER",
        help="folder or name of a sweep, or a run's folder (none: the newest sweep), and where outputs lie",
    )
    parser.add_argument(
        "--watch",
        nargs="?",
        type=seconds,
        const=2.0,
        metavar="SECONDS",
        help="show it again every so many seconds (2), until nothing runs or waits; Ctrl-C ends it",
    )
    return parser.parse_intermixed_args(argv)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.1 <= value <= 86400:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds of at least 0.1; the sweep's name comes before --watch"
        )
    return value


def report(folder: Path, summary_first: bool = False) -> tuple[Group, dict[str, int]]:
    """The text about the sweep or run in ``folder``, and the number of jobs in each state."""
    jobs = sweep_jobs(folder)
    if not jobs:
        raise UserError(
            f"{folder} contains no run and no sweep. Give a folder such as outputs/sweeps/<sweep>."
        )
    found = counts(jobs)
    rows = [[job.name, job.state, epochs(job), remark(job)] for job in jobs]
    text = summary(found)
    left = remaining(jobs) if "running" in found and len(jobs) > 1 else None
    if left is not None:
        text += f" About {duration(left)} left."
    parts: list[RenderableType] = [table(["job", "state", "epoch", ""], rows), Text(f"\n{text}")]
    if summary_first:
        parts = [Text(f"{text}\n"), parts[0]]
    return Group(Text(f"{folder}\n"), *parts), found


def epochs(job: Job) -> str:
    """``12/40  30%``"""
    progress = job.progress
    if progress is None:
        return ""
    if progress.max_epochs is None:
        return str(progress.epoch)
    return f"{progress.epoch}/{progress.max_epochs} {progress.share:4.0%}"


def remark(job: Job) -> str:
    """A remark on the job: what it does and its remaining time, its duration or its error."""
    progress = job.progress
    if job.state == "finished":
        return "" if job.seconds is None else f"in {duration(job.seconds)}"
    if job.state == "running":
        if progress is None:
            return "starting"
        parts = [progress.phase, "" if progress.left is None else f"about {duration(progress.left)} left"]
        parts.append("" if progress.age is None else f"last beat {duration(progress.age)} ago")
        return ", ".join(part for part in parts if part)
    if job.state == "interrupted":
        where = "" if progress and progress.epoch else "stopped in its first epoch"
        command = "the same command resumes it" if job.swept else ""
        return "; ".join(filter(None, [where, command]))
    if job.state == "failed":
        return f"{reason(job)} Log: {job.folder / LOG if job.folder else LOG}"
    if job.state == "unreadable":
        return f"its record can't be read: {reason(job)}"
    return "starting, or stopped before it began" if job.folder else ""


def reason(job: Job) -> str:
    """The error in one line: its last line, or the whole text if it has at most two lines."""
    lines = [line.strip() for line in (job.error or "").splitlines() if line.strip()]
    text = " ".join(lines if len(lines) <= 2 else lines[-1:]) or "no reason given"
    return text if text.endswith((".", "!", "?")) else f"{text}."


def summary(found: dict[str, int]) -> str:
    """``6 jobs: 3 finished, 1 running, 2 waiting.``"""
    total = sum(found.values())
    text = f"{total} job{'' if total == 1 else 's'}: "
    text += ", ".join(f"{number} {state}" for state, number in found.items()) + "."
    if "running" not in found and found.get("waiting", 0) + found.get("interrupted", 0) > 0 and total > 1:
        text += " Nothing is running now; the same command continues the sweep."
    return text


def watch(folder: Path, every: float) -> None:
    """Show the report every ``every`` seconds until no job runs or waits; on a terminal, in place."""
    terminal = sys.stdout.isatty()
    with Live(console=Console(quiet=not terminal), auto_refresh=False) as live:
        while True:
            content, found = report(
                folder, summary_first=terminal
            )  # the screen may be too small for all jobs
            if terminal:
                live.update(content, refresh=True)
            else:
                print(f"{as_text(content)}\n", flush=True)
            if not {"running", "waiting"} & found.keys():
                return
            time.sleep(every)


def run(args: argparse.Namespace) -> None:
    names, outputs = split_outputs(args.arguments)
    if len(names) > 1:
        raise UserError(f"{PROGRAM} shows one sweep, got {', '.join(names)}.")
    [folder] = find_all(names, outputs)
    folder = folder if folder.is_dir() else folder.parent  # a file in the sweep or run was named
    if args.watch is None:
        print(as_text(report(folder)[0]))
        return
    try:
        watch(folder, args.watch)
    except KeyboardInterrupt:  # this is how the user ends it
        raise SystemExit(INTERRUPTED) from None


def main() -> None:
    """Run the command."""
    args = arguments()
    present_errors(PROGRAM, lambda: run(args))


if __name__ == "__main__":
    main()
