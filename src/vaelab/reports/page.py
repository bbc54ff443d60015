"""report.html: everything in one file that opens from disk, with plotly.js inside and no address outside."""

import base64
import html
import importlib.util
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vaelab.figures.style import PLOTLY_MARKERS, SERIES, inline_svg
from vaelab.reports import findings as words
from vaelab.reports import plots as figures
from vaelab.reports.sheets import Sheet
from vaelab.reports.table import MAIN, Row, Table, cells_as_text, details, show, show_stat

ASSETS = Path(__file__).parent / "assets"
INTERACTIVE = "rate-distortion"


def page(title: str, table: Table, svgs: dict[str, tuple[str, str, str]], sheets: Sequence[Sheet],
         problems: Sequence[str]) -> str:  # fmt: skip
    """The whole page. ``svgs``: name -> (title, caption, SVG)."""
    plot = plot_data(table)
    sections = [section("Findings", bullets(words.findings(table)))]
    sections += [figure_section(name, *parts) for name, parts in svgs.items() if name == INTERACTIVE]
    sections.append(section("Table", table_html(table)))
    sections += [details_section(table, *detail) for detail in details(table)]
    sections += [figure_section(name, *parts) for name, parts in svgs.items() if name != INTERACTIVE]
    sections += [sheet_section(sheet) for sheet in sheets]
    sections.append(differences_section(table))
    sections.append(states_section(table, problems))
    parts = {
        "title": html.escape(title),
        "style": asset("page.css"),
        "body": "\n".join(filter(None, sections)),
        "plotly": plotly_js() if plot else "",
        "data": json.dumps(plot, allow_nan=False).replace("<", "\\u003c"),
        "script": asset("page.js"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], asset("page.html"))


def asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def plotly_js() -> str:
    """plotly.js as it lies in the plotly package, which is not imported."""
    spec = importlib.util.find_spec("plotly")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0]) / "package_data" / "plotly.min.js"
    return file.read_text(encoding="utf-8").replace("</script", "<\\/script")


def plot_data(table: Table) -> dict[str, Any] | None:
    """The rate-distortion curve for page.js; None if there is nothing to draw."""
    series = figures.rate_distortion_series(table)
    if not series:
        return None
    points = [figures.point_of(table, row) for rows in series.values() for row in rows]
    x_range, y_range = figures.ranges(table, [row for rows in series.values() for row in rows])
    clear = figures.clear_labels(points, x_range, y_range)
    return {
        "x": x_range,
        "y": y_range,
        "iso": [
            {"level": level, "at": figures.iso_place(level, x_range, y_range)}
            for level in figures.iso_levels(x_range, y_range)
        ],
        "series": [
            {
                "name": html.escape(name),
                "color": SERIES[i % len(SERIES)],
                "symbol": PLOTLY_MARKERS[i % len(PLOTLY_MARKERS)],
                "line": figures.has_betas(rows),
                "x": [figures.point_of(table, row)[0] for row in rows],
                "y": [figures.point_of(table, row)[1] for row in rows],
                "x_half": figures.halves(table, rows, "rate"),
                "y_half": figures.halves(table, rows, "distortion"),
                "text": [
                    html.escape(figures.point_label(row)) if figures.point_of(table, row) in clear else ""
                    for row in rows
                ],
                "hover": [hover(table, row) for row in rows],
            }
            for i, (name, rows) in enumerate(series.items())
        ],
    }


def hover(table: Table, row: Row) -> str:
    """What a point says; plotly reads it as HTML."""
    lines = [f"<b>{html.escape(row.label)}</b>"]
    for metric, name in MAIN.items():
        stat = row.stats.get(f"{table.split}/{metric}")
        lines += [f"{name} {show_stat(stat, metric)}"] if stat else []
    return "<br>".join(lines + ([f"{row.n} seeds"] if row.n > 1 else []))


def section(title: str, body: str, name: str = "") -> str:
    identity = name or re.sub(r"\W+", "-", title.lower())
    return f'<section id="{identity}">\n<h2>{html.escape(title)}</h2>\n{body}\n</section>' if body else ""


def bullets(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in sentences) + "</ul>"


def figure_section(name: str, title: str, caption: str, svg: str) -> str:
    """A figure; the interactive one has its drawing below it, for print and where scripts don't run."""
    drawing = inline_svg(svg, name, html.escape(title))
    if name == INTERACTIVE:
        drawing = f'<div id="plot" class="plot" hidden></div>\n<div class="static">{drawing}</div>'
    else:
        drawing = f'<div class="scroll" tabindex="0">{drawing}</div>'
    caption = f"<figcaption>{html.escape(caption)}</figcaption>"
    return section(title, f"<figure>{drawing}{caption}</figure>", name)


def sheet_section(sheet: Sheet) -> str:
    strips = "".join(
        f'<span class="label">{html.escape(label)}</span>'
        f'<img src="{data_uri(strip)}" width="{strip.width}" height="{strip.height}" '
        f'alt="{html.escape(": ".join(filter(None, (sheet.title, label))))}">'
        for label, strip in sheet.strips
    )
    caption = f"<figcaption>{html.escape(sheet.caption)}</figcaption>"
    return section(sheet.title, f'<figure><div class="sheet">{strips}</div>{caption}</figure>', sheet.name)


def data_uri(picture: Image.Image) -> str:
    file = io.BytesIO()
    grey = picture.convert("L")
    same = grey.convert("RGB").tobytes() == picture.tobytes()
    (grey if same else picture).save(file, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def table_html(table: Table) -> str:
    """The table; page.js makes its headings buttons that sort by the cells' data-value."""
    fold = (
        " ± is the half width of a 95% interval over seeds (Student's t); one seed has none."
        if table.folded
        else ""
    )
    sorts = '<span class="screen"> A click on a heading sorts.</span>'
    note = f"In nats per image; blank is undefined.{fold}{sorts}"
    return f'{sortable(table, table.metrics, table.split, "runs")}<p class="note">{note}</p>'


def sortable(table: Table, metrics: Sequence[str], split: str, name: str) -> str:
    """One row a configuration, with these metrics; page.js makes its headings buttons (see table_html)."""
    header, rows = cells_as_text(table, metrics, split)
    settings = len(table.names or ["run"])
    keys = [*(table.columns or ("run",)), *header[settings:]]
    head = "".join(
        f'<th scope="col" title="{html.escape(k)}">{html.escape(h)}</th>'
        for k, h in zip(keys, header, strict=True)
    )
    body = []
    for row, cells in zip(table.rows, rows, strict=True):
        values = sort_values(table, row, cells, [f"{split}/{metric}" for metric in metrics])
        columns = [
            f'<td data-value="{html.escape(value)}">{html.escape(cell)}</td>'
            for cell, value in zip(cells, values, strict=True)
        ]
        start = "<tr>" if row.n else '<tr class="empty">'
        body.append(f"{start}{''.join(columns)}</tr>")
    return (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0"><table class="runs" id="{name}">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def details_section(table: Table, title: str, note: str, metrics: Sequence[str], split: str) -> str:
    name = f"table-{title.lower().replace(' ', '-')}"
    body = f'{sortable(table, metrics, split, name)}<p class="note">{html.escape(note)}</p>'
    return section(title, body)


def sort_values(table: Table, row: Row, cells: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """What each cell sorts by: full precision for metrics, the text for all else; blank last."""
    values = [show(value) for value in row.cells] or [cells[0]]
    values += [str(row.n)] if table.folded else []
    numbers = map(row.mean, metrics)
    values += ["" if number is None else repr(number) for number in numbers]
    return [*values, *cells[len(values) :]]


def breakable(key: str) -> str:
    """A key that may be broken over lines after its dots."""
    return html.escape(key).replace(".", ".<wbr>")


def differences_section(table: Table) -> str:
    found = words.differences(table.runs)
    if not found:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{"<br>".join(map(breakable, entry.keys))}</th>'
        f"<td>{html.escape(words.values_text(entry))}</td></tr>"
        for entry in found
    )
    note = "Settings, code and packages that differ between runs; in brackets, how many runs have the value."
    return section(
        "Differences between the runs",
        f'<div class="scroll" role="region" aria-label="Differences" tabindex="0"><table class="plain">{rows}'
        f'</table></div><p class="note">{note}</p>',
    )


def states_section(table: Table, problems: Sequence[str]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(Path(run).name)}</td><td>{html.escape(state)}</td><td>{html.escape(reason)}</td></tr>"
        for run, state, reason in words.unfinished(table.runs)
    )
    head = (
        '<thead><tr><th scope="col">run</th><th scope="col">state</th><th scope="col">why</th></tr></thead>'
    )
    body = f'<table class="plain states">{head}<tbody>{rows}</tbody></table>' if rows else ""
    return section("Failed, unfinished or unreadable", body + (bullets(problems) if problems else ""))
