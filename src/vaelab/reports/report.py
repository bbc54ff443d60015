"""The report of a comparison: reads the records, writes every file and returns the text for the terminal."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelab.errors import UserError
from vaelab.figures.style import as_png, as_svg, inline_svg
from vaelab.reports.columns import as_csv, as_text, columns, details, table_note
from vaelab.reports.explorer import explorers
from vaelab.reports.findings import differing_settings, findings, unfinished
from vaelab.reports.plots import PLOTS, tooltips
from vaelab.reports.records import read_runs
from vaelab.reports.sheets import SHEETS, as_data_uri, as_picture, as_png_file, contact_sheets
from vaelab.reports.table import Row, Table, build_table
from vaelab.runs.files import replacing

__all__ = ["FOLDER", "compare", "compare_sweep", "render", "write_report"]

FOLDER = "report"
MOST_NAMES = 3  # in a title
ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Figure:
    """A plot as it stands in the report."""

    name: str  # of its files, without suffix
    title: str
    caption: str
    png: bytes
    svg: str
    inline: str  # the SVG as it stands in the page


def compare_sweep(folder: Path) -> str:
    """Write ``<folder>/report/`` for a sweep, and return the table and the findings for the terminal."""
    return compare([Path(folder)])


def compare(paths: Sequence[Path], out: Path | None = None, split: str = "test", folded: bool = True) -> str:
    """Compare the runs and sweeps at ``paths``, write the report into ``out`` and return what to print.

    ``out`` is by default ``<path>/report`` for one path and ``./report`` for several.

    Raises:
        UserError: there is nothing to compare, or ``out`` can't be written to.
    """
    reading = read_runs(paths)
    if not reading.runs:
        raise UserError("\n".join(["No record could be read.", *reading.problems[:1]]))
    table = build_table(reading.runs, split, folded)
    folders = [path.parent if path.is_file() else path for path in paths]
    out = out or (folders[0] if len(folders) == 1 else Path()) / FOLDER
    title = title_of([folder.resolve().name for folder in folders])
    sentences = findings(table)
    try:
        write_report(table, sentences, reading.problems, out, title)
    except OSError as error:
        raise UserError(f"{out}: the report can't be written: {error.strerror or error}") from error
    lines = [as_text(table), *filter(None, [table_note(table)]), "", *sentences]
    lines += [f"{run.folder.name} {run.status}: {reason}" for run, reason in unfinished(table.runs)]
    return "\n".join([*lines, *reading.problems, f"Report: {out / 'report.html'}"])


def title_of(names: Sequence[str]) -> str:
    """The names; of more than MOST_NAMES their number, for the table has them all.

    >>> title_of(["one", "two", "one"])
    'one, two'
    >>> title_of([f"run{i}" for i in range(30)])
    'run0, run1 and 28 more'
    """
    different = list(dict.fromkeys(names))
    if len(different) <= MOST_NAMES:
        return ", ".join(different)
    return f"{different[0]}, {different[1]} and {len(different) - 2} more"


def write_report(
    table: Table, sentences: Sequence[str], problems: Sequence[str], out: Path, title: str
) -> None:
    """Write table.csv, figures as PNG and SVG, contact sheets, report.md and report.html."""
    figures, sheets = draw_figures(table), contact_sheets(table)
    content: dict[str, Any] = {
        "title": title,
        "table": table,
        "findings": sentences,
        "columns": columns(table),
        "note": table_note(table),
        "details": details(table),
        "figures": figures,
        "sheets": sheets,
        "explorers": explorers(table),
        "differences": differing_settings(table.runs),
        "unfinished": unfinished(table.runs),
        "problems": problems,
        "reasons": lambda row: reasons(row, table.split),
        "folders": [str(run.folder) for run in table.runs],
    }
    files = {f"{figure.name}.svg": figure.svg.encode() for figure in figures}
    files |= {f"{figure.name}.png": figure.png for figure in figures}
    with ThreadPoolExecutor() as threads:  # Pillow releases the interpreter's lock
        pictures = threads.map(lambda sheet: as_png_file(as_picture(sheet)), sheets)
        files |= {f"{sheet.name}.png": data for sheet, data in zip(sheets, pictures, strict=True)}
    files["table.csv"] = as_csv(table).encode()
    files |= {name: render(name, content).encode() for name in ("report.md", "report.html")}
    for file, data in files.items():
        with replacing(out / file, durable=False) as temporary:  # a report can be made again
            temporary.write_bytes(data)
    for picture in (*PLOTS, *SHEETS):
        for file in (f"{picture.name}.png", f"{picture.name}.svg"):
            if file not in files:  # of an earlier report, perhaps of other runs
                (out / file).unlink(missing_ok=True)


def reasons(row: Row, split: str) -> str:
    """Why the row's runs have their verdict, a line for each different reason."""
    verdicts = [verdict for run in row.runs if (verdict := run.verdict(split)) is not None]
    return "\n".join(dict.fromkeys(verdict.reason for verdict in verdicts))


def draw_figures(table: Table) -> list[Figure]:
    """The plots for which the table has data."""
    import matplotlib

    figures = []
    # a name may hold a dollar sign; titles stand at 1 anyway, for which matplotlib would lay out all ticks
    with matplotlib.rc_context({"text.parse_math": False, "axes.titley": 1.0}):
        for name, title, caption, draw in PLOTS:
            figure = draw(table)
            if figure is None:
                continue
            png = as_png(figure)  # first, for it computes the layout
            svg = as_svg(figure, name)
            inline = inline_svg(svg, name, title, tooltips(table))
            figures.append(Figure(name, title, caption, png, svg, inline))
    return figures


def render(name: str, content: dict[str, Any]) -> str:
    """The template ``name`` of the assets with its content: Markdown as text, HTML with its text escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"data_uri": as_data_uri, "in_cell": in_cell}
    return environment.get_template(name).render(content)


def in_cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
