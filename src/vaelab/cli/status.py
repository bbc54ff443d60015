"""``vaelab-status``: a table of a sweep's jobs and how far each is, once or until all is done."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from vaelab.cli.pipes import reader_may_leave
from vaelab.errors import INTERRUPTED, MISTAKE, UserError
from vaelab.runs.status import LOG, Job, counts, newest_sweep, no_sweep, sweep_jobs

PROGRAM = "vaelab-status"
CLEAR = "\x1b[H\x1b[2J"  # the cursor home, the screen empty


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Show how far the jobs of a sweep are: finished, running, interrupted, failed, waiting.",
    )
    parser.add_argument(
        "sweep", nargs="?", help="folder or name of a sweep, or a run's folder; none: the newest sweep"
    )
    parser.add_argument(
        "--watch",
        nargs="?",
        type=seconds,
        const=2.0,
        metavar="SECONDS",
        help="show it again every so many seconds (2), until nothing runs or waits; Ctrl-C ends it",
    )
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="where sweeps lie (default: outputs)"
    )
    return parser.parse_args(argv)


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


def find(name: str | None, outputs: Path) -> Path:
    """The folder to look at. Raises UserError if there is none of the name, or none at all."""
    if name is None:
        newest = newest_sweep(outputs)
        if newest is None:
            raise no_sweep(outputs)
        return newest
    from vaelab.reports.records import locate

    folder = locate(name, outputs)
    return folder if folder.is_dir() else folder.parent  # of a run's or a sweep's own file


def report(folder: Path) -> tuple[str, dict[str, int]]:
    """What to print about the sweep or run in ``folder``, and how many jobs are in which state."""
    jobs = sweep_jobs(folder)
    if not jobs:
        raise UserError(f"{folder} holds no run and no sweep. Give a folder such as outputs/sweeps/<sweep>.")
    found = counts(jobs)
    return "\n".join([str(folder), "", *table(jobs), "", summary(found)]), found


def table(jobs: Sequence[Job]) -> list[str]:
    """One line a job below a header: name, state, epochs, and what else there is to say."""
    rows = [["job", "state", "epoch", ""], *([job.name, job.state, epochs(job), remark(job)] for job in jobs)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    rows.insert(1, [*("-" * width for width in widths), ""])
    return ["  ".join([*map(str.ljust, row, widths), row[3]]).rstrip() for row in rows]


def epochs(job: Job) -> str:
    """``12/40  30%``"""
    progress = job.progress
    if progress is None:
        return ""
    if progress.max_epochs is None:
        return str(progress.epoch)
    return f"{progress.epoch}/{progress.max_epochs} {progress.share:4.0%}"


def remark(job: Job) -> str:
    """What is to be known of the job, beside its state and its epochs."""
    progress = job.progress
    if job.state == "finished":
        return "" if job.seconds is None else f"in {duration(job.seconds)}"
    if job.state == "running":
        if progress is None:
            return "starting"
        parts = ["" if progress.left is None else f"about {duration(progress.left)} left"]
        parts.append("" if progress.age is None else f"last beat {duration(progress.age)} ago")
        return ", ".join(filter(None, parts))
    if job.state == "interrupted":
        where = "" if progress and progress.epoch else "stopped in its first epoch"
        goes_on = "the same command goes on from there" if job.swept else ""
        return "; ".join(filter(None, [where, goes_on]))
    if job.state == "failed":
        return f"{reason(job)} Log: {job.folder / LOG if job.folder else LOG}"
    if job.state == "unreadable":
        return f"its record can't be read: {reason(job)}"
    return "starting, or stopped before it began" if job.folder else ""


def reason(job: Job) -> str:
    """The end of the error's text, in one line; a sentence or two of ours as a whole."""
    lines = [line.strip() for line in (job.error or "").splitlines() if line.strip()]
    text = " ".join(lines if len(lines) <= 2 else lines[-1:]) or "no reason given"
    return text if text.endswith((".", "!", "?")) else f"{text}."


def duration(value: float) -> str:
    """``8 s``, ``3 min``, ``2 h 05 min``"""
    if value < 99.5:
        return f"{value:.0f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def summary(found: dict[str, int]) -> str:
    """``6 jobs: 3 finished, 1 running, 2 waiting.``"""
    total = sum(found.values())
    text = f"{total} job{'' if total == 1 else 's'}: "
    text += ", ".join(f"{number} {state}" for state, number in found.items()) + "."
    if "running" not in found and found.get("waiting", 0) + found.get("interrupted", 0) > 0 and total > 1:
        text += " Nothing is running now; the same command goes on."
    return text


def watch(folder: Path, every: float) -> None:
    """Show the report again and again until nothing runs or waits."""
    screen = sys.stdout.isatty()
    while True:
        text, found = report(folder)
        print(f"{CLEAR}{text}" if screen else f"{text}\n", flush=True)
        if not {"running", "waiting"} & found.keys():
            return
        time.sleep(every)


def run(args: argparse.Namespace) -> None:
    folder = find(args.sweep, args.outputs)
    try:
        if args.watch is None:
            print(report(folder)[0])
        else:
            watch(folder, args.watch)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise UserError(f"{error.filename or folder}: {error.strerror or error}") from error


def main() -> None:
    """The command. A user's mistake is a line or two and exit code 2, Ctrl-C exit code 130."""
    args = arguments()
    try:
        with reader_may_leave():
            run(args)
    except UserError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        print()
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
