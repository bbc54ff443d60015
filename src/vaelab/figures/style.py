"""The style of figures, and their conversion to files."""

import html
import io
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.ImageFont import FreeTypeFont

__all__ = [
    "CONTENT", "EXPLORER", "INK", "MARKERS", "MUTED", "PAPER", "SERIES", "as_png", "as_svg", "font",
    "inline_svg", "new_figure", "style_axes",
]  # fmt: skip

CONTENT = "vaelab.content"
"""The text of a PNG file that says where a picture's content lies, without labels and caption, and how much
it was magnified: ``left top width height zoom`` in pixels."""

EXPLORER = "vaelab.explorer"
"""The text of a PNG file of tiles on a grid over latent dimensions that says which z each is decoded from.

It is JSON: ``tile`` (width and height in pixels, with a line of one pixel around each), ``names``,
``use`` and ``values`` with an entry for each dimension, the ``measure`` of their use, and the ``label`` that
a conditional model was given. The first dimension grows to the right within a block of tiles, the second
downwards, the third from block to block."""

INK, MUTED, PAPER = "#1c2531", "#87919f", "#fefefe"  # inline_svg makes them follow the page's theme
# Distinguishable for most colour-blind readers, and legible on a light and a dark page.
SERIES = ("#2f7fc1", "#d9772b", "#1f9e83", "#b8559a", "#7d73cf", "#a8912a", "#cc4f4a", "#6a8f3c")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@cache
def font(size: int) -> "FreeTypeFont":
    """DejaVu Sans, which comes with matplotlib and has accents and Greek, for text in images."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def new_figure(width: float, height: float) -> "Figure":
    """A matplotlib figure outside of pyplot, on the Agg canvas; the sizes are inches of 150 dots."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=150, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: "Axes", **labels: str) -> None:
    """Set the labels (``title``, ``xlabel``, ``ylabel``); draw thin lines, none above and at the right."""
    axes.set(**labels)
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(which="both", color=MUTED, labelcolor=INK, labelsize=8)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color(INK)
        text.set_fontsize(9)


def as_png(figure: "Figure") -> bytes:
    """The figure as PNG. It is drawn once, and keeps the layout of that for :func:`as_svg`.

    matplotlib's ``savefig`` draws every figure twice, which takes most of a report's time.
    """
    import numpy as np
    from PIL import Image

    figure.canvas.draw()
    figure.set_layout_engine("none")
    file = io.BytesIO()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba()))  # type: ignore[attr-defined]
    picture.convert("RGB").save(file, format="png", dpi=(figure.dpi, figure.dpi))
    return file.getvalue()


def as_svg(figure: "Figure", name: str) -> str:
    """The figure as SVG with real text; the same figure always gives the same file.

    It is drawn once, after :func:`as_png`, and for the last time: its canvas is that of the SVG afterwards.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    return file.getvalue()


def inline_svg(svg: str, name: str, description: str, titles: Mapping[str, str]) -> str:
    """SVG for inclusion in a page: its colours follow the theme, and its ids begin with ``name``.

    ``titles`` gives artists by their gid a ``<title>``, which browsers show as a tooltip, and the class
    ``point``. Titles and ``description`` are plain text.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', body)[0]
    tag = f'<svg viewBox="0 0 {width} {height}" class="figure" role="group"'
    tag += f' aria-label="{html.escape(description)}"'
    body = re.sub(r"<svg[^>]*>", f'{tag} style="max-width:{float(width) * 1.5:.0f}px">', body, count=1)
    for colour, variable in ((INK, "--ink"), (MUTED, "--muted"), (PAPER, "--paper")):
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--sans)", body)
    body = body.replace("xlink:href", "href").strip()
    for gid, title in titles.items():  # last, so that nothing above changes their text
        tag = f'<g id="{name}-{gid}"'
        body = body.replace(f"{tag}>", f'{tag} class="point"><title>{html.escape(title)}</title>')
    return body
