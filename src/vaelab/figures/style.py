"""How the figures look, and how they become files. Three named colours follow the page's theme."""

import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, PAPER = "#1c2531", "#87919f", "#fefefe"  # on the page: var(--ink), var(--muted), var(--paper)
# Told apart by most colour-blind readers, and legible on white as on near black.
SERIES = ("#2f7fc1", "#d9772b", "#1f9e83", "#b8559a", "#7d73cf", "#a8912a", "#cc4f4a", "#6a8f3c")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PLOTLY_MARKERS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star")


def new_figure(width: float, height: float) -> "Figure":
    """A matplotlib figure on the Agg canvas, outside of pyplot; inches at 150 dots each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=150, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def dress(axes: "Axes", **labels: str) -> None:
    """Labels, and the house's lines: thin, in the theme's colours, open above and to the right."""
    axes.set(**labels)
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(which="both", color=MUTED, labelcolor=INK, labelsize=8)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color(INK)
        text.set_fontsize(9)


def settle(figure: "Figure") -> None:
    """Lay the figure out once; every file made of it would otherwise do so again."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def as_png(figure: "Figure") -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def as_svg(figure: "Figure", name: str) -> str:
    """The figure as SVG with real text; the same figure always gives the same file."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def inline_svg(svg: str, name: str, description: str) -> str:
    """SVG to stand inside of a page: themed, with ids of its own, as wide as its column."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', body)[0]
    tag = f'<svg viewBox="0 0 {width} {height}" class="figure" role="img" aria-label="{description}"'
    body = re.sub(r"<svg[^>]*>", f'{tag} style="max-width:{float(width) * 1.5:.0f}px">', body, count=1)
    for colour, variable in ((INK, "--ink"), (MUTED, "--muted"), (PAPER, "--paper")):
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--sans)", body)
    return body.replace("xlink:href", "href").strip()
