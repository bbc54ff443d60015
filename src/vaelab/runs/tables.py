"""Aligned text tables that colour verdicts and states on a terminal and never truncate a cell."""

import math
import re
from collections.abc import Sequence

from rich.box import Box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["as_text", "cell", "table", "text_table"]

STYLES = {
    **dict.fromkeys(("finished", "healthy"), "green"),
    "running": "cyan",
    **dict.fromkeys(("interrupted", "pruned", "off target", "untrained", "partial"), "yellow"),
    **dict.fromkeys(("failed", "unreadable", "collapsed"), "bold red"),
    **dict.fromkeys(("waiting", "deterministic"), "dim"),
}
"""The style of each state of a run and of each verdict; ``partial`` stands in older records."""

COLOURED = ("state", "status", "verdict")  # the columns in which STYLES applies

NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?( ±\S+)?( \([\d.]+\))?( \(n=\d+\))?( / [\d.]+)?")
RULE = Box("\n".join(["    ", "    ", " -  ", *["    "] * 5]), ascii=True)  # a line below the header only


def cell(value: object) -> str:
    """``value`` as text: a float with two decimals; None and NaN are blank."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.2f}"
    return "" if value is None else " ".join(str(value).split("\n"))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """The rows below a header and a rule; columns of numbers are aligned to the right, others to the left.

    Raises:
        ValueError: a row and the header have different lengths.
    """
    texts = [[cell(value) for value in row] for row in rows]
    built = Table(box=RULE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name, *column in zip(header, *texts, strict=True):
        numbers = all(NUMBER.fullmatch(text) for text in column if text)
        built.add_column(Text(name), justify="right" if numbers else "left", overflow="fold")
    for row in texts:
        cells = [Text(text) for text in row]
        for name, text in zip(header, cells, strict=True):
            if name in COLOURED:
                for word, style in STYLES.items():
                    text.highlight_words([word], style)
        built.add_row(*cells)
    return built


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """:func:`table` as text."""
    return as_text(table(header, rows))


def as_text(renderable: RenderableType) -> str:
    """The output of rich as text, at full width, with colours if standard output is a terminal."""
    console = Console(width=10_000, force_jupyter=False)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
