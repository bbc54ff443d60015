"""What ``vaelab-evaluate`` says at its end: a table of the numbers, and where they were written."""

from collections.abc import Mapping, Sequence
from typing import Any

from vaelab.runs.naming import MULTIRUN
from vaelab.runs.record import FILE_NAME, finite
from vaelab.runs.tables import text_table

__all__ = ["measured_table", "places"]

WIDTH = 100  # columns of a terminal
LONGEST = 20  # characters of a run's name in a heading
MOST_COLUMNS = 4  # runs that stand beside each other; of more, each has a line
ERROR, LOW, HIGH = "_se", "_low", "_high"
NOTE = "(y): the standard error; undefined numbers are blank."

Record = Mapping[str, Any]


def measured_table(records: Sequence[Record], names: Sequence[str]) -> str:
    """The numbers of the evaluations ``names`` in the records of runs, in tables of at most WIDTH columns.

    A line for each number, and for more than MOST_COLUMNS runs a line for each run. Empty without numbers.
    """
    cells = [numbers(record, names) for record in records]
    metrics = list(dict.fromkeys(metric for each in cells for metric in each))
    if not metrics:
        return ""
    runs = [shortened(str(record["folder"].name)) for record in records]
    columns = [["number", *metrics]]
    columns += [[run, *(each.get(m, "") for m in metrics)] for run, each in zip(runs, cells, strict=True)]
    if len(records) > MOST_COLUMNS:
        lines = list(zip(*columns, strict=True))
        columns = [["run", *lines[0][1:]], *(list(line) for line in lines[1:])]
    return "\n\n".join(text_table(*as_rows(part)) for part in split(columns)) + f"\n{NOTE}"


def numbers(record: Record, names: Sequence[str]) -> dict[str, str]:
    """The scalar metrics of these evaluations by name: ``13.4 (0.22)``, of a range ``1.904 to 2.317``."""
    values: dict[str, float | None] = {}
    for name in names:
        found = record["evaluation"].get(name, {}).get("metrics", {})
        values |= {metric: finite(value) for metric, value in found.items() if not isinstance(value, list)}
    texts = {}
    for metric, value in values.items():
        stem = metric.removesuffix(LOW)
        if metric.endswith(ERROR) and metric.removesuffix(ERROR) in values:
            continue
        if metric.endswith(HIGH) and metric.removesuffix(HIGH) + LOW in values:
            continue
        if metric.endswith(LOW) and stem + HIGH in values:
            high = values[stem + HIGH]
            texts[stem] = "" if value is None or high is None else f"{value:.4g} to {high:.4g}"
            continue
        error = values.get(metric + ERROR)
        margin = "" if error is None else f" ({error:.2g})"
        texts[metric] = "" if value is None else f"{value:.4g}{margin}"
    return texts


def shortened(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def as_rows(columns: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Columns, each with its heading first, as a heading and rows."""
    header, *rows = ([*line] for line in zip(*columns, strict=True))
    return header, rows


def split(columns: Sequence[Sequence[str]]) -> list[list[Sequence[str]]]:
    """The columns in parts that fit into WIDTH, each of which begins with the first column."""
    first, *others = columns
    widths = [max(map(len, column)) + 2 for column in others]
    start = max(map(len, first))
    parts: list[list[Sequence[str]]] = []
    used = WIDTH
    for column, width in zip(others, widths, strict=True):
        if used + width > WIDTH:
            parts.append([first])
            used = start
        parts[-1].append(column)
        used += width
    return parts


def places(records: Sequence[Record], logged: bool) -> list[str]:
    """Lines that say where the numbers are."""
    folders = [record["folder"] for record in records]
    parents = {folder.parent: (folder.parent / MULTIRUN).is_file() for folder in folders}
    sweeps = [parent for parent, is_sweep in parents.items() if is_sweep]
    single = [folder for folder in folders if not parents[folder.parent]]
    files = [*(sweep / "*" / FILE_NAME for sweep in sweeps), *(folder / FILE_NAME for folder in single)]
    lines = [f"Numbers: {file} (metrics eval/...; methods and sizes: evaluation)" for file in files]
    if logged and any((record.get("wandb") or {}).get("mode") in ("online", "offline") for record in records):
        lines.append("W&B: the runs' summaries, as eval/...")
    lines += [f"Report: {sweep}/report/report.html" for sweep in sweeps]
    if single:
        lines.append(f"Report: vaelab-compare {' '.join(map(str, single))} writes one.")
    return lines
