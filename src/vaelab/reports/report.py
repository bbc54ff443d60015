"""From folders to a report: read, fold, write every file; what to print comes back."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vaelab.errors import UserError
from vaelab.reports import findings as words
from vaelab.reports.records import Reading, read_runs
from vaelab.reports.table import Table, as_csv, as_markdown, as_text, build_table, cells_as_text, details
from vaelab.runs.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vaelab.reports.sheets import Sheet

FOLDER = "report"
CAPTIONS = {
    "rate-distortion": (
        "Rate and distortion",
        "Each point is a configuration, labelled by its β. On a dotted line the ELBO, −(rate + distortion), "
        "is the same; down and to the left it is better.",
    ),
    "against-beta": ("Against β", "The same numbers against β, on a log axis."),
    "kl-per-dimension": (
        "KL per dimension",
        "Each row is a configuration. Dimensions are sorted within each run, since their order means "
        "nothing; a row's sum is its rate.",
    ),
    "training-curves": ("Training", "A line for each run, from dark to light in the order of the table."),
}


def compare_sweep(folder: Path) -> str:
    """Write ``<folder>/report/`` for a sweep, and return the table and the findings for the terminal."""
    return compare([Path(folder)])


def compare(paths: Sequence[Path], out: Path | None = None, split: str = "test", folded: bool = True) -> str:
    """Compare the runs and sweeps at ``paths`` and write the report into ``out``.

    ``out`` is ``<path>/report`` for one path and ``./report`` for several. Returns what to print.
    Raises UserError if there is nothing to compare or no place to write to.
    """
    reading = read_runs(paths)
    if not reading.runs:
        raise UserError("\n".join(["No record could be read.", *reading.problems[:1]]))
    table = build_table(reading.runs, split, folded)
    out = out or (default_folder(paths[0]) if len(paths) == 1 else Path(FOLDER))
    title = ", ".join(
        dict.fromkeys((path.parent if path.is_file() else path).resolve().name for path in paths)
    )
    try:
        write_report(table, reading.problems, out, title)
    except OSError as error:
        raise UserError(f"{out}: the report can't be written: {error.strerror or error}") from error
    return terminal_text(table, reading, out)


def default_folder(path: Path) -> Path:
    return (path.parent if path.is_file() else path) / FOLDER


def write_report(table: Table, problems: Sequence[str], out: Path, title: str) -> None:
    """table.csv, figures as PNG and SVG, contact sheets, report.md, report.html."""
    from vaelab.figures.style import as_png, as_svg, settle
    from vaelab.reports.page import page
    from vaelab.reports.sheets import NAMES, as_picture, contact_sheets, stack

    svgs: dict[str, tuple[str, str, str]] = {}
    files: dict[str, bytes] = {}
    for name, figure in draw(table).items():
        settle(figure)
        svg = as_svg(figure, name)
        files |= {f"{name}.png": as_png(figure), f"{name}.svg": svg.encode()}
        svgs[name] = (*CAPTIONS[name], svg)
    sheets = contact_sheets(table)
    files |= {f"{sheet.name}.png": as_picture(stack(sheet.strips)) for sheet in sheets}
    files["table.csv"] = as_csv(table).encode()
    files["report.md"] = markdown(table, problems, title, list(svgs), sheets).encode()
    files["report.html"] = page(title, table, svgs, sheets, problems).encode()
    for file, content in files.items():
        with replacing(out / file, durable=False) as temporary:  # a report can be made again
            temporary.write_bytes(content)
    for name in (*CAPTIONS, *NAMES):
        for file in (f"{name}.png", f"{name}.svg"):
            if file not in files:  # of an earlier report, perhaps of other runs
                (out / file).unlink(missing_ok=True)


def draw(table: Table) -> dict[str, "Figure"]:
    """The figures that the table has something for, by file name."""
    import matplotlib

    from vaelab.reports import plots as figures

    with matplotlib.rc_context({"text.parse_math": False}):  # a name may hold a dollar sign
        drawn = {
            "rate-distortion": figures.rate_distortion(table),
            "against-beta": figures.against_beta(table),
            "kl-per-dimension": figures.kl_heatmap(table),
            "training-curves": figures.training_curves(table),
        }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def markdown(
    table: Table, problems: Sequence[str], title: str, figures: Sequence[str], sheets: Sequence["Sheet"]
) -> str:
    """The report for pasting into an issue; its pictures lie beside it."""
    parts = [f"# {title}", "\n".join(f"- {text}" for text in words.findings(table))]
    parts.append(as_markdown(*cells_as_text(table)))
    for heading, note, metrics, split in details(table):
        parts.append(f"## {heading}\n\n{as_markdown(*cells_as_text(table, metrics, split))}\n\n{note}")
    for name in figures:
        heading, caption = CAPTIONS[name]
        parts.append(f"## {heading}\n\n![{heading}]({name}.png)\n\n{caption}")
    for sheet in sheets:
        parts.append(f"## {sheet.title}\n\n![{sheet.title}]({sheet.name}.png)\n\n{sheet.caption}")
    differing = [(", ".join(entry.keys), words.values_text(entry)) for entry in words.differences(table.runs)]
    if differing:
        parts.append(
            "## Differences between the runs\n\n" + as_markdown(["setting", "values (runs)"], differing)
        )
    left = [f"- {run}: {state}: {reason}" for run, state, reason in words.unfinished(table.runs)]
    left += [f"- {problem}" for problem in problems]
    if left:
        parts.append("## Failed, unfinished or unreadable\n\n" + "\n".join(left))
    return "\n\n".join(parts) + "\n"


def terminal_text(table: Table, reading: Reading, out: Path) -> str:
    """The table, the findings, what went wrong, and where the report lies."""
    lines = [as_text(table), "", *words.findings(table)]
    lines += [f"{Path(run).name} {state}: {reason}" for run, state, reason in words.unfinished(table.runs)]
    lines += reading.problems
    return "\n".join([*lines, f"Report: {out / 'report.html'}"])
