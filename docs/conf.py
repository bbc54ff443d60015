"""Sphinx builds these pages with `make docs`; a warning is an error. Nothing here needs a network."""

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

from reference import write_reference  # noqa: E402

from vaelab import __version__  # noqa: E402

project = "vaelab"
author = copyright = "The vaelab authors"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["build"]
html_theme = "furo"
html_title = "vaelab"
html_static_path = ["static"]
html_css_files = ["tables.css"]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # those of Lightning and torch refer to pages that are not here
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

write_reference(HERE / "reference")

# ``code`` and roles stay; what is left of a bar or an underscore at a word's end belongs to a formula
MARKUP = re.compile(r"``.*?``|:[\w:]+:`.*?`|`.*?`_|\||(?<=\w)_(?!\w)")


def keep_formulas(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings write |x|^2 and z_; reStructuredText would take both for references."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            lines[number] = MARKUP.sub(lambda found: "\\" * (len(found[0]) == 1) + found[0], line)


def skip_tuple_fields(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """A named tuple's docstring describes its fields; Python's "Alias for field number 0" does not."""
    return True if name == "__new__" or type(obj).__name__ == "_tuplegetter" else None


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", keep_formulas)
    app.connect("autodoc-skip-member", skip_tuple_fields)
